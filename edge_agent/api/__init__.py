"""The pull API: a process of its own that reads the ledger and holds no plant session."""
