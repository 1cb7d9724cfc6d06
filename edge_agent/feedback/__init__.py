"""Feedback: what was seen, said, done and true, as records in a durable ledger."""
