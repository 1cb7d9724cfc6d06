"""When is a row due? On a grid, at each sample of one tag, or between the start and the stop of a machine cycle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from edge_agent.messages import Value
from edge_agent.perceive.channel import Channel, Ring

Block = tuple[int, int, np.ndarray, np.ndarray]
"""A full window: first and last row's time, values float32 and quality uint16 [channels, rows]."""

Truth = Callable[[], bool | None]

NEVER = 1 << 63  # no window becomes due by the mere passing of time


class Cutter(Protocol):
    """Turns channels into windows."""

    @property
    def channels(self) -> Sequence[Channel]: ...

    @property
    def due_ns(self) -> int:
        """When `due` has to be asked although no sample came."""

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None: ...
    def due(self, now_ns: int) -> list[Block]:
        """Windows that are complete at `now_ns` on our time axis."""

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the window so far, rows wanted."""

    @property
    def counts(self) -> dict[str, int]:
        """What came too late or found no room, and what had to be begun anew."""


def _lost(channels: Sequence[Channel]) -> dict[str, int]:
    return {"late": sum(channel.late for channel in channels), "dropped": sum(channel.dropped for channel in channels)}


class Grid:
    """Rows at whole multiples of `every_ns`; a row waits for late channels until `settle_ns` after its time."""

    def __init__(self, channels: Sequence[Channel], *, every_ns: int, rows: int, hop: int, settle_ns: int) -> None:
        self.channels = channels
        self.every_ns, self.rows, self.hop, self.settle_ns = every_ns, rows, hop, settle_ns
        self.row_ns = 0  # newest row cut
        self.jumps = 0
        self._newest_ns = 0  # of all channels
        self._ring = Ring(len(channels), rows)
        self._since_window = hop - 1

    @property
    def filled(self) -> tuple[int, int]:
        return min(self._ring.count, self.rows), self.rows

    @property
    def counts(self) -> dict[str, int]:
        return {**_lost(self.channels), "jumps": self.jumps}

    @property
    def due_ns(self) -> int:
        return self.row_ns + self.every_ns + self.settle_ns if self.row_ns else 0

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None:
        target = self.channels[channel]
        target.push(time_ns, value, quality, self.row_ns)
        if target.newest_ns > self._newest_ns:
            self._newest_ns = target.newest_ns

    def due(self, now_ns: int) -> list[Block]:
        if not self.row_ns:
            self.row_ns = (now_ns - self.settle_ns) // self.every_ns * self.every_ns
        self._catch_up(now_ns)
        done: list[Block] = []
        next_ns = self.row_ns + self.every_ns
        while next_ns + self.settle_ns <= now_ns or self._complete(next_ns):
            if (block := self._cut(next_ns)) is not None:
                done.append(block)
            next_ns += self.every_ns
        return done

    def _complete(self, row_ns: int) -> bool:
        if self._newest_ns < row_ns:
            return False
        return all(channel.newest_ns >= row_ns for channel in self.channels)

    def _cut(self, row_ns: int) -> Block | None:
        self.row_ns = row_ns
        self._ring.append([channel.at(row_ns) for channel in self.channels])
        self._since_window += 1
        if self._ring.count < self.rows or self._since_window < self.hop:
            return None
        self._since_window = 0
        return row_ns - (self.rows - 1) * self.every_ns, row_ns, *self._ring.latest()

    def _catch_up(self, now_ns: int) -> None:
        """After a long sleep, or a clock that was set, start again at now instead of cutting rows of nothing."""
        behind = max(now_ns - self.settle_ns, self._newest_ns) - self.row_ns
        if -10 * self.every_ns - self.settle_ns <= behind <= 2 * (self.rows + 10) * self.every_ns:
            return
        self.jumps += 1
        self.row_ns = now_ns // self.every_ns * self.every_ns
        self._ring = Ring(len(self.channels), self.rows)
        for channel in self.channels:
            channel.rebase(now_ns)
        self._newest_ns = max((channel.newest_ns for channel in self.channels), default=0)


class Follow:
    """A row at each sample of one channel; the others as they stood then. No waiting: the least delay there can be."""

    def __init__(self, channels: Sequence[Channel], *, leader: int, rows: int, hop: int) -> None:
        self.channels = channels
        self.rows, self.hop = rows, hop
        self._leader = leader
        self._ring = Ring(len(channels), rows)
        self._times: deque[int] = deque([0], maxlen=rows)
        self._since_window = hop - 1
        self._done: list[Block] = []

    @property
    def filled(self) -> tuple[int, int]:
        return min(self._ring.count, self.rows), self.rows

    @property
    def counts(self) -> dict[str, int]:
        return _lost(self.channels)

    @property
    def due_ns(self) -> int:
        return NEVER

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None:
        row_ns = self._times[-1]
        self.channels[channel].push(time_ns, value, quality, row_ns)
        if channel != self._leader or time_ns <= row_ns:
            return
        self._ring.append([c.at(time_ns) for c in self.channels])
        self._times.append(time_ns)
        self._since_window += 1
        if self._ring.count >= self.rows and self._since_window >= self.hop:
            self._since_window = 0
            self._done.append((self._times[0], time_ns, *self._ring.latest()))

    def due(self, now_ns: int) -> list[Block]:
        done, self._done = self._done, []
        return done


class Wave:
    """Windows of one waveform tag, whose samples are blocks (float32 [n]) at a fixed rate. A hole starts afresh."""

    def __init__(self, channel: Channel, *, rows: int, hop: int, step_ns: int) -> None:
        self.channels = (channel,)
        self.rows, self.hop, self.step_ns = rows, hop, step_ns
        self.breaks = 0
        self._values = np.empty(0, np.float32)
        self._quality = np.empty(0, np.uint16)
        self._next_ns = 0  # time of the sample after the last one held
        self._done: list[Block] = []

    @property
    def filled(self) -> tuple[int, int]:
        return len(self._values), self.rows

    @property
    def counts(self) -> dict[str, int]:
        return {**_lost(self.channels), "breaks": self.breaks}

    @property
    def due_ns(self) -> int:
        return NEVER

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None:
        block = np.asarray(value, np.float32).reshape(-1) if isinstance(value, np.ndarray) else np.empty(0, np.float32)
        if self._next_ns and abs(time_ns - self._next_ns) > max(len(block), 1) * self.step_ns // 2:
            self.breaks += 1
            self._values, self._quality = self._values[:0], self._quality[:0]
        self._values = np.concatenate([self._values, block])
        self._quality = np.concatenate([self._quality, np.full(len(block), quality, np.uint16)])
        self._next_ns = time_ns + len(block) * self.step_ns
        while len(self._values) >= self.rows:
            self._cut()

    def _cut(self) -> None:
        start_ns = self._next_ns - len(self._values) * self.step_ns
        end_ns = start_ns + (self.rows - 1) * self.step_ns
        self._done.append((start_ns, end_ns, self._values[None, : self.rows].copy(), self._quality[None, : self.rows].copy()))
        self._values, self._quality = self._values[self.hop :], self._quality[self.hop :]

    def due(self, now_ns: int) -> list[Block]:
        done, self._done = self._done, []
        return done


class Cycles:
    """A window from each machine cycle: grid rows from start to stop, stretched to `rows` by straight lines.

    `start` and `stop` are asked at each row; unknown is no. A cycle longer than `longest` rows is given up and counted.
    """

    def __init__(self, grid: Grid, *, start: Truth, stop: Truth, rows: int, longest: int) -> None:
        self._grid = grid  # cuts windows of one row
        self._start, self._stop = start, stop
        self._wanted, self._longest = rows, longest
        self._running = False
        self._was_true = True  # a cycle that was under way when we came is not ours
        self._cells: list[Block] = []
        self.given_up = 0

    @property
    def channels(self) -> Sequence[Channel]:
        return self._grid.channels

    @property
    def due_ns(self) -> int:
        return self._grid.due_ns

    @property
    def filled(self) -> tuple[int, int]:
        return len(self._cells), self._longest

    @property
    def counts(self) -> dict[str, int]:
        return {**self._grid.counts, "given_up": self.given_up}

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None:
        self._grid.push(channel, time_ns, value, quality)

    def due(self, now_ns: int) -> list[Block]:
        return [block for row in self._grid.due(now_ns) if (block := self._take(row)) is not None]

    def _take(self, row: Block) -> Block | None:
        if not self._running:
            started = self._start() is True
            self._running, self._was_true = started and not self._was_true, started
            self._cells = [row] if self._running else []
            return None
        self._cells.append(row)
        if self._stop() is True:
            self._running = False
            return self._stretched()
        if len(self._cells) >= self._longest:
            self._running = False
            self.given_up += 1
            self._cells = []
        return None

    def _stretched(self) -> Block:
        cells, self._cells = self._cells, []
        values = np.concatenate([c[2] for c in cells], axis=1)
        quality = np.concatenate([c[3] for c in cells], axis=1)
        at = np.linspace(0, len(cells) - 1, self._wanted)
        stretched = np.stack([np.interp(at, np.arange(len(cells)), channel) for channel in values]).astype(np.float32)
        return cells[0][0], cells[-1][1], stretched, quality[:, np.rint(at).astype(int)]
