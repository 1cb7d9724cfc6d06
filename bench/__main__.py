"""`python -m bench [--quick] [worker scale footprint]`: run the benches and print what they found, as markdown."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

BENCHES = {"pipe": "MQTT message to command", "worker": "what the killable worker adds", "scale": "a thousand loops", "footprint": "memory, idle, start"}


def main() -> None:
    """Run each bench in a folder of its own. A figure is no verdict: the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help=", ".join(f"{k}: {v}" for k, v in BENCHES.items()))
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    wanted = parser.parse_args()
    for name in wanted.bench or BENCHES:
        with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as folder:
            section = importlib.import_module(f"bench.{name}").run(Path(folder), quick=wanted.quick)
        print(section.text(), end="\n\n", flush=True)


main()
