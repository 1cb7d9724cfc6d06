"""The permit chain: may this write leave? Standard library only, no I/O, no clock."""
