"""Model types, one file each: what goes into the graph and what its outputs mean."""
