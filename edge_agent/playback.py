"""What is in a file that shall be played back? Rows of a CSV file or batches of an agent's recording, on one time axis."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from edge_agent import recording
from edge_agent.errors import EdgeAgentError, PlantError
from edge_agent.messages import Quality, Value

_ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1; no text begins like this


class Wanted(NamedTuple):
    """What one tag takes from the file."""

    column: str  # of a CSV; in a recording, the name of the recorded tag
    kind: str  # of a CSV's cells: number, text or bool


class Cell(NamedTuple):
    """One value. `offset_ns` is its source time, counted from the time of its row."""

    tag: str
    value: Value
    quality: int
    offset_ns: int


class Row(NamedTuple):
    """What arrived together; without a time where the file says none."""

    time_ns: int | None
    cells: list[Cell]


class Source(Protocol):
    """An open file."""

    @property
    def missing(self) -> Mapping[str, str]:
        """Tags that are not in the file, and what is there instead; of a recording it is known at its end."""

    def __iter__(self) -> Iterator[Row]: ...
    def close(self) -> None: ...


def open_source(
    file: Path, wanted: Mapping[str, Wanted], *, separator: str, time_column: str, instant: Callable[[str], int | None]
) -> Source:
    """The rows of a file. OSError or PlantError if it is none that can be played."""
    with file.open("rb") as raw:
        recorded = raw.read(len(_ZSTD)) == _ZSTD
    if recorded:
        return _Recorded(file, wanted)
    return _Table(file.open(newline="", encoding="utf-8-sig"), wanted, separator=separator, time_column=time_column, instant=instant)


class _Table:
    """A CSV file with a line of column names."""

    def __init__(
        self, lines: TextIO, wanted: Mapping[str, Wanted], *, separator: str, time_column: str, instant: Callable[[str], int | None]
    ) -> None:
        self._lines, self._instant = lines, instant
        self._rows = csv.reader(lines, delimiter=separator)
        try:
            places = _places(next(self._rows, []), time_column)
        except BaseException:
            lines.close()
            raise
        self._time = places[time_column]
        self._columns = {tag: (places[w.column], w.kind) for tag, w in wanted.items() if w.column in places}
        there = ", ".join(places)
        self.missing = {tag: f"no column {w.column!r}; there are: {there}" for tag, w in wanted.items() if w.column not in places}

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            time_ns = self._instant(row[self._time].strip()) if self._time < len(row) else None
            yield Row(time_ns, list(self._cells(row)))

    def close(self) -> None:
        self._lines.close()

    def _cells(self, row: list[str]) -> Iterator[Cell]:
        for tag, (place, kind) in self._columns.items():
            if place < len(row) and (text := row[place].strip()):
                yield Cell(tag, *_value(text, kind), 0)


class _Recorded:
    """What an agent received: a batch is played when it came, with the source times, qualities and delays that it had."""

    def __init__(self, file: Path, wanted: Mapping[str, Wanted]) -> None:
        self._frames = recording.read(file)
        try:
            head: dict[str, Any] = next(self._frames)[1]
        except EdgeAgentError as e:
            raise PlantError(str(e)) from e
        self._axis_ns = head["wall_ns"] - head["mono_ns"]
        self._tags: dict[str, list[str]] = {}
        for tag, w in wanted.items():
            self._tags.setdefault(w.column, []).append(tag)
        self._there: set[str] = set()
        self.missing: dict[str, str] = {}

    def __iter__(self) -> Iterator[Row]:
        try:
            for frame in self._frames:
                if frame[0] == "samples" and frame[1]:
                    yield self._row(frame)
        except EdgeAgentError as e:
            raise PlantError(str(e)) from e
        there = ", ".join(sorted(self._there))
        self.missing = {
            t: f"no recorded tag {c!r}; there are: {there}" for c, tags in self._tags.items() if c not in self._there for t in tags
        }

    def close(self) -> None:
        self._frames.close()

    def _row(self, frame: recording.Frame) -> Row:
        batch = recording.samples_of(frame)
        time_ns = self._axis_ns + batch[0].mono_ns
        self._there.update(sample.tag for sample in batch)
        cells = [Cell(tag, s.value, s.quality, s.source_ns - time_ns) for s in batch for tag in self._tags.get(s.tag, ())]
        return Row(time_ns, cells)


def _places(names: list[str], time_column: str) -> dict[str, int]:
    """Column -> place in each row."""
    places = {name.strip(): i for i, name in enumerate(names)}
    if time_column not in places:
        raise PlantError(f"has no column {time_column!r}; there are: {', '.join(places)}")
    return places


def _value(text: str, kind: str) -> tuple[Value, int]:
    """A cell's value and quality; an empty cell was never measured and gives no sample."""
    if kind == "text":
        return text, Quality.GOOD
    if kind == "bool":
        word = text.lower()
        return (word in ("true", "1", "1.0"), Quality.GOOD) if word in ("true", "1", "1.0", "false", "0", "0.0") else (None, Quality.TYPE)
    try:
        number = float(text)
    except ValueError:
        return None, Quality.TYPE
    return (number, Quality.GOOD) if abs(number) < float("inf") else (None, Quality.NOT_FINITE)
