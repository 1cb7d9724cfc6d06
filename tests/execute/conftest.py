"""Lets the tests of execute share the make-believe PLC and the rig that lie beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
