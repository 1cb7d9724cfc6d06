"""Decision policies, one file each."""
