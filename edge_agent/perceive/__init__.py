"""Perceive: from samples to windows, with the quality of every value. Pure."""
