"""A run of a real pump as a table: SKAB's where it is at hand, else a made-up one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RATE = 20  # seconds of the pump's life that pass in one of ours


@dataclass(frozen=True)
class Table:
    """A run of the pump: one row a second, with a column that names the OPC UA status of the row."""

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    onset: int  # first row of the fault
    end: int  # first row after it

    def cut(self, before: int, after: int | None = None) -> Table:
        """From so many rows before the fault to so many behind its onset."""
        start = self.onset - before
        rows = self.rows[start : None if after is None else self.onset + after]
        return Table(self.name, self.header, rows, before, self.end - start)

    def with_status(self, **stretches: tuple[int, int]) -> Table:
        """The same with rows of another quality: `Bad=(20, 50)`."""
        rows = [[*row, "Good"] for row in self.rows]
        for status, (first, last) in stretches.items():
            for row in rows[first:last]:
                row[-1] = status
        return Table(self.name, [*self.header, "status"], rows, self.onset, self.end)

    def column(self, name: str) -> list[str]:
        return [row[self.header.index(name)] for row in self.rows]

    def seconds(self) -> list[float]:
        """Since the first row."""
        times = [time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S")) for text in self.column("datetime")]
        return [t - times[0] for t in times]

    def write(self, file: Path) -> Path:
        file.write_text("\n".join(";".join(row) for row in (self.header, *self.rows)) + "\n")
        return file


def _skab_folder() -> Path | None:
    """SKAB's data, which are not part of this project: where SKAB_DATA says, else in ../shared beside the checkout."""
    named = os.environ.get("SKAB_DATA")
    folder = Path(named) if named else ROOT.parent / "shared/data/skab/data"
    if named and not folder.is_dir():
        raise pytest.UsageError(f"SKAB_DATA={named}: there is no such folder")
    return folder if folder.is_dir() else None


def _skab(folder: Path, run: str) -> Table:
    header, *rows = [line.split(";") for line in (folder / f"{run}.csv").read_text().splitlines()]
    fault = [float(row[header.index("anomaly")]) > 0 for row in rows]
    onset = fault.index(True)
    return Table(f"SKAB-{run.replace('/', '-')}", header, rows, onset, onset + fault[onset:].index(False))


# mean and spread of a quiet run, then what a closing valve adds; columns as SKAB has them
_QUIET = {
    "Accelerometer1RMS": (0.0275, 0.0004, 0.0012),
    "Accelerometer2RMS": (0.0406, 0.0009, 0.0030),
    "Current": (0.95, 0.26, 0.05),
    "Pressure": (0.08, 0.26, 0.30),
    "Temperature": (79.0, 0.2, 0.0),
    "Thermocouple": (26.0, 0.05, 0.0),
    "Voltage": (231.0, 10.7, -4.0),
    "Volume Flow RateRMS": (32.0, 0.35, -6.0),
}


def _synthetic() -> Table:
    """A made-up run, always the same: quiet, then the outlet valve closes within 20 s, and opens again."""
    chance, onset, end, length = random.Random(20), 572, 972, 1150
    rows = []
    for i in range(length):
        closed = max(0.0, min(1.0, (i - onset) / 20, (end - i) / 20))
        cells = [f"{chance.gauss(mean + shift * closed, spread):.6g}" for mean, spread, shift in _QUIET.values()]
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_583_748_000 + i))
        rows.append([moment, *cells, "1.0" if onset <= i < end else "0.0", "0.0"])
    return Table("MADE-UP-run-because-SKAB-is-not-here", ["datetime", *_QUIET, "anomaly", "changepoint"], rows, onset, end)


def table() -> Table:
    folder = _skab_folder()
    return _skab(folder, "valve1/8") if folder else _synthetic()
