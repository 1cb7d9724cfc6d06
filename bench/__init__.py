"""Side-by-side measurements: ours, the floor, and the peers, in one run. `python -m bench --help`."""
