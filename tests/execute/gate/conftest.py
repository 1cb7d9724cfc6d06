"""Lets the tests of the gate share the permitted baseline and the oracle that lie beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
