"""Diagnose: from a window to a score, its confidence, its novelty and the tags that made it say so."""
