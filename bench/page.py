"""How does docs/performance.md come about? What is written by hand lies in bench/performance.md; the figures go where it says."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.report import Section

HAND = Path(__file__).with_name("performance.md")
_NAMED = ("numpy", "onnxruntime", "paho-mqtt", "asyncua", "msgspec")


def text(sections: Sequence[Section], took_s: float) -> str:
    """The whole page."""
    figures = "\n\n".join(section.text() for section in sections)
    met = sum(goal.met for section in sections for goal in section.goals)
    count = sum(len(section.goals) for section in sections)
    took = f" Made in {took_s / 60:.0f} minutes." if took_s > 60 else ""
    facts = f"{_machine()}. {met} of {count} targets met.{took}"
    return HAND.read_text().replace("{{machine}}", facts).replace("{{figures}}", figures).rstrip() + "\n"


def _machine() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _NAMED)
    return f"{_cpu()}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, {versions}; load before: {_load()}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[2]:.1f}"
