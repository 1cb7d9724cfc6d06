"""Command line: one file a command group; parses, calls, prints, nothing else."""
