"""What would this configuration decide on that recording? The pure middle, run again without plant or clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from edge_agent.contracts import Situation
from edge_agent.loop import Decide, Diagnose
from edge_agent.messages import Decision, Diagnosis, LinkState, Window
from edge_agent.perceive.link import Perceiver, View
from edge_agent.recording import Frame, canonical, samples_of

_WAITING = 64  # windows of a loop that wait for their turn; the live queue is shorter


@dataclass(frozen=True, slots=True)
class Middle:
    """The two thinking links of one loop."""

    diagnose: Diagnose
    decide: Decide


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision of the replay beside the recorded one; `recorded` is None where there was none."""

    decision: Decision
    diagnosis: Diagnosis
    recorded: bytes | None

    @property
    def same(self) -> bool:
        return self.recorded == canonical(self.decision)


Start = Callable[[str], Awaitable[tuple[View, Middle]]]


class Replay:
    """Feeds a recording to a perceiver and to the middles of its loops.

    Exact: a window is diagnosed when the recording says that its turn came, with what was applied then. What-if: every window
    is diagnosed when it is cut, with what was applied last in the recording.
    """

    def __init__(self, perceiver: Perceiver, start: Start, loops: Collection[str], *, exact: bool, config_hash: str = "") -> None:
        """`start` makes a loop's view and links; they are made anew where the recording says that the loop started."""
        self._perceiver = perceiver
        self._start = start
        self._loops = loops
        self._middles: dict[str, Middle] = {}
        self._exact = exact
        self._waiting: dict[str, OrderedDict[int, Window]] = {}
        self.config_hash = config_hash
        self.mono_ns = 0  # where in the recording we are
        self._applied: dict[str, tuple[dict[str, Any], bool]] = {}
        self.missing = 0  # turns of windows that this configuration did not cut

    async def run(self, frames: Iterable[Frame]) -> AsyncIterator[Replayed]:
        """Decisions in the order of the recording."""
        if not self._exact:
            for loop in self._loops:
                await self._begin(loop)
        for frame in frames:
            if frame[0] == "turn":
                async for replayed in self._turn(frame):
                    yield replayed
            elif frame[0] in ("start", "end"):
                await self._start_or_end(frame)
            else:
                async for replayed in self._cut(frame):
                    yield replayed

    async def _cut(self, frame: Frame) -> AsyncIterator[Replayed]:
        for window in self._perceive(frame):
            if self._exact:
                self._keep(window)
            elif window.loop in self._middles:
                yield await self._decide(window, *self._applied.get(window.loop, ({}, False)), None, None)

    async def _start_or_end(self, frame: Frame) -> None:
        if self._exact and frame[1] in self._loops:
            await self._begin(frame[1], again=frame[0] == "start")

    async def _begin(self, loop: str, again: bool = True) -> None:
        self._perceiver.remove(loop)
        self._middles.pop(loop, None)
        self._waiting.pop(loop, None)
        if again:
            view, self._middles[loop] = await self._start(loop)
            self._perceiver.add(view)

    def _perceive(self, frame: Frame) -> list[Window]:
        kind, *rest = frame
        if kind == "samples":
            batch = samples_of(frame)
            self.mono_ns = batch[-1].mono_ns if batch else self.mono_ns
            return self._perceiver.take(batch)
        if kind == "tick":
            self.mono_ns = rest[0]
            return self._perceiver.tick(self.mono_ns)
        if kind == "link":
            self._perceiver.link(LinkState(connector=rest[0], state=rest[1], reason="", mono_ns=rest[2]))
        elif kind == "alive":
            self._perceiver.alive(rest[0], rest[1])
        elif kind == "baseline" and rest[0] in self._middles:
            self._middles[rest[0]].diagnose.restore_baseline(rest[1])
        elif kind == "relearn" and rest[0] in self._middles:
            self._middles[rest[0]].diagnose.relearn()
        return []

    def _keep(self, window: Window) -> None:
        waiting = self._waiting.setdefault(window.loop, OrderedDict())
        waiting[window.seq] = window
        if len(waiting) > _WAITING:
            waiting.popitem(last=False)

    async def _turn(self, frame: Frame) -> AsyncIterator[Replayed]:
        _, loop, seq, applied, armed, timed, recorded = frame
        self._applied[loop] = (applied, armed)
        if not self._exact or loop not in self._middles:
            return
        window = self._waiting.get(loop, OrderedDict()).pop(seq, None)
        if window is None:
            self.missing += 1
            return
        yield await self._decide(window, applied, armed, timed, recorded)

    async def _decide(self, window: Window, applied: dict[str, Any], armed: bool, timed: Any, recorded: bytes | None) -> Replayed:
        middle = self._middles[window.loop]
        if timed:  # the recorded turn was late or failed: that depended on time and is taken as it was
            diagnosis = Diagnosis(loop=window.loop, window=window.seq, end_ns=window.end_ns, status=timed[0], why=timed[1])
        else:
            diagnosis = await middle.diagnose.diagnose(window)
        situation = Situation(window=window, diagnosis=diagnosis, applied=applied, armed=armed)
        return Replayed(middle.decide.decide(situation), diagnosis, recorded)
