"""Which files in a checkout are made from the code? `python -m edge_agent.cli.generate` writes them, `--check` says which are stale."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from edge_agent import metrics
from edge_agent.cli import document
from edge_agent.config import reference, schema

FILES: dict[str, Callable[[], str]] = {
    "configs/edge-agent.schema.json": schema.text,
    "docs/config.md": reference.text,
    "docs/cli.md": document.text,
    "docs/metrics.md": metrics.document,
}


def stale(checkout: Path) -> dict[str, str]:
    """Files that differ from what the code says: name -> what should be in it."""
    made = {name: make() for name, make in FILES.items()}
    return {name: text for name, text in made.items() if not _same(checkout / name, text)}


def main(arguments: list[str]) -> int:
    """Write what is stale, or only say so; 1 if something is stale and was not written."""
    found = stale(Path())
    for name, text in found.items():
        if "--check" in arguments:
            sys.stderr.write(f"{name} is stale; run `make generate`\n")
        else:
            Path(name).write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")
    return 1 if found and "--check" in arguments else 0


def _same(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
