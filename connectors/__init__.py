"""Connectors: one file each, found by the `type:` of a connector in the configuration."""
