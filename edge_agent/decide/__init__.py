"""Decide: from a diagnosis to a proposal. Pure."""
