"""What would this configuration decide on that recording? The pure middle, run again without plant or clock."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from edge_agent.contracts import Situation
from edge_agent.loop import Decide, Diagnose
from edge_agent.messages import Decision, Diagnosis, LinkState, Window
from edge_agent.perceive.link import Perceiver, View
from edge_agent.recording import TIMED, Frame, canonical, samples_of

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
        """To the byte."""
        return self.recorded == canonical(self.decision)

    @property
    def agrees(self) -> bool:
        """The same state and the same wishes, whatever the words and the counting: what another configuration is asked for."""
        return self.recorded is not None and _gist(msgspec.json.decode(self.recorded)) == _gist(msgspec.to_builtins(self.decision))


Start = Callable[[str], Awaitable[tuple[View, Middle]]]


class Replay:
    """Feeds a recording to a perceiver and to the middles of its loops.

    Exact: a window is diagnosed when the recording says that its turn came, with what was applied then. What-if: every window is
    diagnosed; it stands beside the recorded turn of the same end, and takes from it what was applied.
    """

    def __init__(
        self,
        perceiver: Perceiver,
        start: Start,
        loops: Collection[str],
        *,
        exact: bool,
        recorded: Collection[str] = (),
        config_hash: str = "",
    ) -> None:
        """`start` makes a loop's view and links; they are made anew where the recording says that the loop started. A loop that
        is not in the recording (`recorded` names those that are) starts at its begin, if exactness is not asked for."""
        self._perceiver = perceiver
        self._start = start
        self._loops = loops
        self._recorded = loops if exact else recorded
        self._middles: dict[str, Middle] = {}
        self._exact = exact
        self._waiting: dict[str, OrderedDict[int, Window]] = {}
        self.config_hash = config_hash
        self.mono_ns = 0  # where in the recording we are
        self._applied: dict[str, tuple[dict[str, Any], bool]] = {}
        self.missing = 0  # turns of windows that this configuration did not cut

    async def run(self, frames: Iterable[Frame]) -> AsyncIterator[Replayed]:
        """Decisions in the order of the recording."""
        for loop in self._loops:
            if loop not in self._recorded:
                await self._begin(loop)
        for frame in frames:
            step = _STEPS.get(frame[0], Replay._cut)
            async for replayed in step(self, frame):
                yield replayed
        for loop in list(self._waiting):
            async for replayed in self._up_to(loop, None):
                yield replayed

    async def _cut(self, frame: Frame) -> AsyncIterator[Replayed]:
        for window in self._perceive(frame):
            if (crowded := self._keep(window)) is not None and not self._exact:
                yield await self._alone(crowded)

    async def _start_or_end(self, frame: Frame) -> AsyncIterator[Replayed]:
        loop = frame[1]
        if loop in self._recorded and loop in self._loops:
            async for replayed in self._up_to(loop, None):
                yield replayed
            await self._begin(loop, again=frame[0] == "start")

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
            self._restore(*rest)
        elif kind == "relearn" and rest[0] in self._middles:
            self._middles[rest[0]].diagnose.relearn()
        return []

    def _restore(self, loop: str, baseline: list[list[float]]) -> None:
        try:
            self._middles[loop].diagnose.restore_baseline(baseline)
        except ValueError:
            if self._exact:
                raise
            # another model: it learns its own

    def _keep(self, window: Window) -> Window | None:
        """Let a window wait for its turn; one that has waited too long."""
        if window.loop not in self._middles:
            return None
        waiting = self._waiting.setdefault(window.loop, OrderedDict())
        waiting[window.seq if self._exact else window.end_ns] = window
        return waiting.popitem(last=False)[1] if len(waiting) > _WAITING else None

    async def _up_to(self, loop: str, end_ns: int | None) -> AsyncIterator[Replayed]:
        """What-if: decide the windows that end before this; they had no turn in the recording."""
        waiting = self._waiting.get(loop)
        while not self._exact and waiting and (end_ns is None or next(iter(waiting)) < end_ns):
            yield await self._alone(waiting.popitem(last=False)[1])

    async def _alone(self, window: Window) -> Replayed:
        applied, armed = self._applied.get(window.loop, ({}, False))
        return await self._decide(window, applied, armed, None, None)

    async def _turn(self, frame: Frame) -> AsyncIterator[Replayed]:
        _, loop, seq, applied, armed, timed, recorded, blamed = frame
        if loop not in self._middles:
            return
        at = seq if self._exact else msgspec.json.decode(recorded)["end_ns"]
        waiting = self._waiting.get(loop, OrderedDict())
        window = waiting.pop(at, None)
        if window is not None and window.seq == seq:  # cut alike: those before it that had no turn were dropped live, too
            for late in [key for key in waiting if key < at]:
                del waiting[late]
        async for replayed in self._up_to(loop, at):
            yield replayed
        self._applied[loop] = (applied, armed)
        if window is None:
            self.missing += 1
            return
        yield await self._decide(window, applied, armed, timed, recorded, blamed=blamed or not self._exact)

    async def _decide(
        self, window: Window, applied: dict[str, Any], armed: bool, timed: Any, recorded: bytes | None, *, blamed: bool = True
    ) -> Replayed:
        middle = self._middles[window.loop]
        again = getattr(middle.diagnose, "again", None)
        if timed and len(timed) > 2 and again is not None:
            diagnosis = await again(window, timed[2])
        elif timed and timed[0] in TIMED:  # the recorded turn was late or failed: that depended on time and is taken as it was
            diagnosis = Diagnosis(loop=window.loop, window=window.seq, end_ns=window.end_ns, status=timed[0], why=timed[1])
        else:
            diagnosis = await middle.diagnose.diagnose(window)
        if not blamed and diagnosis.contributions:  # asking for the blame can fail where the answer does not
            diagnosis = dataclasses.replace(diagnosis, contributions=())
        situation = Situation(window=window, diagnosis=diagnosis, applied=applied, armed=armed)
        return Replayed(middle.decide.decide(situation), diagnosis, recorded)


_STEPS = {"turn": Replay._turn, "start": Replay._start_or_end, "end": Replay._start_or_end}


def _gist(decision: Mapping[str, Any]) -> tuple[Any, ...]:
    return decision["state"], decision["unknown"], [tuple(proposal[:3]) for proposal in decision["proposals"]]
