"""YAML to checked values: every error with file, line, column, and what to do about it."""
