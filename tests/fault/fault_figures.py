"""What figures did the fault tests reach? Gathered while they run, kept in one JSON file that several runs may add to.

`pytest --figures docs/promises.json -m "torture or control"` replaces the entries of the tests that it ran and leaves the others;
docs/promises.md is made from it (promises.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest


class Figures:
    """A pytest plug-in: each test's outcome, seconds and figures."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.tests: dict[str, dict[str, Any]] = {}

    def note(self, test: str, promise: str, numbers: dict[str, Any]) -> None:
        """A line of the table."""
        self._of(test)["figures"].append([promise, numbers])

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown in turn: the worst of them counts."""
        if report.when == "call" or report.outcome != "passed":
            entry = self._of(report.nodeid)
            entry["outcome"] = report.outcome
            entry["seconds"] = round(entry["seconds"] + report.duration, 1)

    @pytest.hookimpl
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Into the file at once: the run may be an hour long."""
        entry = self.tests.get(nodeid)
        if self._file is not None and entry is not None and (entry["figures"] or entry["outcome"] != "passed"):
            merge(self._file, {nodeid: entry})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = [(promise, numbers) for entry in self.tests.values() for promise, numbers in entry["figures"]]
        if lines:
            terminalreporter.section("figures reached")
        for promise, numbers in lines:
            terminalreporter.line(f"{promise:36} {said(numbers)}")

    def _of(self, test: str) -> dict[str, Any]:
        return self.tests.setdefault(test, {"outcome": "unfinished", "seconds": 0.0, "figures": []})


def said(numbers: dict[str, Any]) -> str:
    """Figures on a line, `_` as spaces."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items())


def merge(file: Path, tests: dict[str, dict[str, Any]]) -> None:
    """Put these tests' entries into the file, whatever another run puts there at the same time."""
    with file.open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        known = json.loads(handle.read() or "{}")
        day = time.strftime("%Y-%m-%d", time.gmtime())
        entries = known.get("tests", {}) | {name: {"day": day, **entry} for name, entry in tests.items()}
        handle.truncate(0)
        json.dump({"machine": machine(), "tests": dict(sorted(entries.items()))}, handle, indent=1)
        handle.write("\n")


def machine() -> str:
    """What the figures were reached on."""
    system = f"{platform.system()} {platform.release().split('-')[0]} on {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
