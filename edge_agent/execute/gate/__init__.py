"""May this one value be written to this one tag, now? Standard library only; no I/O, no clock, no logging, no randomness.

Every guard is asked every time. Missing data is a no. An exception is a no and locks the loop out. Values are never mended.
"""
