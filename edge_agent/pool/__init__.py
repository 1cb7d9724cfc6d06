"""The central side: pulls many agents into one pool, exactly once."""
