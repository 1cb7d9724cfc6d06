"""Cameras: opening, reading and judging pictures, on threads of their own."""
