"""What did the plant say then? A CSV file or an agent's recording played back as if a device sent it: at its own speed, faster, or as
fast as it goes."""

from __future__ import annotations

import asyncio
import csv
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edge_agent.config.model import Tag as BaseTag
from edge_agent.config.types import Duration, Model
from edge_agent.contracts import Setup, Sink
from edge_agent.errors import PlantError
from edge_agent.messages import LinkState, Sample
from edge_agent.mqtt.stamps import stamp
from edge_agent.playback import Row, Source, Wanted, open_source

log = logging.getLogger(__name__)

_ROWS = 256  # read at once, in a thread
_RETRY_S = 5.0
_COMMIT_S = 10.0  # at speed max: how long to wait for the sink before going on


class Config(Model):
    """A recording played back."""

    type: Literal["replay"]
    file: Annotated[
        str, Field(description="CSV with a line of column names, or a recording of `edge-agent record`; relative to this configuration")
    ]
    separator: Annotated[str, Field(min_length=1, max_length=1, description="of a CSV, as are the next two")] = ","
    time_column: str = "time"
    time_format: Literal["ns", "us", "ms", "s", "iso"] = "iso"
    speed: Annotated[float, Field(gt=0, le=100_000)] | Literal["max"] = Field(
        default=1.0, description="10: ten times faster; max: as fast as it goes"
    )
    loop: bool = Field(default=False, description="start anew at the end; times keep growing")
    time: Literal["original", "now"] = Field(default="original", description="source times as in the file, or as if it were measured now")
    max_pause: Duration = Field(default=60.0, description="longer holes in the file are waited for no longer than this")

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if self.speed == "max" and self.time == "now":
            raise ValueError("speed: max leaves no time to be now; write time: original")
        return self


class Tag(BaseTag):
    """A column of the file, or a tag of the recording."""

    column: Annotated[str, Field(description="of a recording: the name that the tag has there")]
    type: Annotated[Literal["number", "text", "bool"], Field(description="of a CSV's column")] = "number"


class Connector:
    """One file."""

    def __init__(self, config: Config, tags: Mapping[str, Tag], setup: Setup) -> None:
        self._config, self._tags, self._setup = config, tags, setup
        self._file = setup.home / config.file
        self._state: Literal["", "connecting", "up", "down"] = ""
        self._reason = "not started"
        self._rows = self._rounds = self._bad_times = 0
        self._missing: dict[str, str] = {}
        self._committed = asyncio.Event()
        self._shift_ns = 0  # added to the file's times: grows with each round
        self._first_ns: int | None = None
        self._last_ns = 0
        self._step_ns = 1_000_000_000
        self._paused_ns = 0  # of holes that were cut short
        self._origin_ns = self._start_mono_ns = self._start_wall_ns = 0

    async def run(self, sink: Sink) -> None:
        """Play; then keep still until cancelled. A file that cannot be read is tried again."""
        self._start_mono_ns, self._start_wall_ns = self._setup.clock.mono_ns(), self._setup.clock.wall_ns()
        while True:
            try:
                await self._play(sink)
            except (OSError, UnicodeDecodeError, csv.Error, PlantError) as e:
                self._tell(sink, "down", f"{self._file}: {e}")
                await self._setup.clock.sleep(_RETRY_S)
                continue
            self._rounds += 1
            if self._config.loop and self._first_ns is None:
                self._tell(sink, "down", f"{self._file}: no row has a time that can be read")
                await self._setup.clock.sleep(_RETRY_S)
            if not self._config.loop:
                break
            if self._first_ns is not None:
                self._shift_ns += self._last_ns + self._step_ns - self._first_ns
                self._first_ns = None
        self._tell(sink, "down", f"{self._file}: played to the end")
        await asyncio.Event().wait()

    def status(self) -> Mapping[str, Any]:
        return {
            "link": "up" if self._state == "up" else "down",
            "reason": self._reason,
            "rows": self._rows,
            "rounds": self._rounds,
            "bad_times": self._bad_times,
            "missing": dict(self._missing),
        }

    async def _play(self, sink: Sink) -> None:
        source = await asyncio.to_thread(self._open)
        try:
            self._tell_missing(source)
            self._tell(sink, "up", str(self._file))
            rows = iter(source)
            while some := await asyncio.to_thread(_several, rows):
                if self._config.speed == "max":
                    await self._at_once(sink, some)
                else:
                    for row in some:
                        await self._in_time(sink, row, self._config.speed)
            self._tell_missing(source)
        finally:
            source.close()

    def _open(self) -> Source:
        config = self._config
        wanted = {name: Wanted(tag.column, tag.type) for name, tag in self._tags.items()}
        instant = stamp(config.time_format)
        return open_source(self._file, wanted, separator=config.separator, time_column=config.time_column, instant=instant)

    def _tell_missing(self, source: Source) -> None:
        for tag, why in source.missing.items():
            if tag not in self._missing:
                log.warning("%s: %s: %s", self._setup.name, tag, why)
        self._missing = dict(source.missing)

    async def _at_once(self, sink: Sink, rows: list[Row]) -> None:
        """A batch, then wait until the sink has worked it off: a file must not overrun the agent."""
        batch = [sample for row in rows if (time_ns := self._time(row)) is not None for sample in self._samples(row, time_ns)]
        self._committed.clear()
        loop = asyncio.get_running_loop()

        def committed() -> None:
            loop.call_soon_threadsafe(self._committed.set)

        sink.samples(batch, committed)
        try:
            async with asyncio.timeout(_COMMIT_S):
                await self._committed.wait()
        except TimeoutError:
            log.warning("%s: the agent did not take %d samples within %g s", self._setup.name, len(batch), _COMMIT_S)

    async def _in_time(self, sink: Sink, row: Row, speed: float) -> None:
        time_ns = self._time(row)
        if time_ns is None:
            return
        clock = self._setup.clock
        due_ns = self._start_mono_ns + self._elapsed(time_ns, speed)
        wait_s = (due_ns - clock.mono_ns()) / 1e9
        if wait_s > self._config.max_pause:
            self._paused_ns += int((wait_s - self._config.max_pause) * 1e9)
            wait_s = self._config.max_pause
        await clock.sleep(max(wait_s, 0.0))
        if self._config.time == "now":
            time_ns = self._start_wall_ns + self._elapsed(time_ns, speed)
        if batch := self._samples(row, time_ns):
            sink.samples(batch)

    def _elapsed(self, time_ns: int, speed: float) -> int:
        return int((time_ns - self._origin_ns) / speed) - self._paused_ns

    def _time(self, row: Row) -> int | None:
        """The row's time on an axis that grows over the rounds; None where the row has none."""
        time_ns = row.time_ns
        if time_ns is None:
            self._bad_times += 1
            return None
        if self._first_ns is None:
            self._first_ns = time_ns
            if not self._shift_ns:
                self._origin_ns = time_ns
        elif time_ns > self._last_ns:
            self._step_ns = time_ns - self._last_ns
        self._last_ns = time_ns
        self._rows += 1
        return time_ns + self._shift_ns

    def _samples(self, row: Row, time_ns: int) -> list[Sample]:
        wall_ns, mono_ns = self._setup.clock.wall_ns(), self._setup.clock.mono_ns()
        return [Sample(cell.tag, cell.value, cell.quality, time_ns + cell.offset_ns, wall_ns, mono_ns) for cell in row.cells]

    def _tell(self, sink: Sink, state: Literal["up", "down"], reason: str) -> None:
        self._reason = reason
        if state != self._state:
            self._state = state
            sink.link(LinkState(connector=self._setup.name, state=state, reason=reason, mono_ns=self._setup.clock.mono_ns()))


def _several(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, _ROWS))
