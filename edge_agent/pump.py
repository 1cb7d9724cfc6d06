"""What happens to everything that arrives: recorded, perceived, put into the ledger where the tag says so, acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_agent import recording
from edge_agent.clock import Clock
from edge_agent.feedback.known import Key, key
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.inbox import Event, Inbox, Samples
from edge_agent.messages import Gap, LinkState, Sample, Window
from edge_agent.perceive.link import Perceiver
from edge_agent.recording import Frame

TICK_S = 0.05  # how often rows are cut although nothing came; also the control process's round


class Pump:
    """Moves events from the inbox to the perceiver, and windows to their loops."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        perceiver: Perceiver,
        ledger: Ledger,
        clock: Clock,
        put: Callable[[Window], None],
        record: Callable[[Frame], None] | None,
        linked: Callable[[LinkState], None],
        round_done: Callable[[], None],
    ) -> None:
        self._inbox, self._perceiver, self._ledger, self._clock = inbox, perceiver, ledger, clock
        self._put, self._linked, self._record, self._round_done = put, linked, record, round_done
        self.now_ns = clock.mono_ns()  # monotonic time of what is being perceived
        self.recorded_tags: frozenset[str] = frozenset()
        self.on_disk: set[Key] = set()  # recorded by an earlier life: sent again, they are not recorded again
        self.recorded_before = 0
        self.not_recorded = 0  # samples whose record was refused; their sender was not told that we have them

    async def run(self) -> None:
        """Until cancelled. What a connector brings on this very thread is taken at once; what threads bring waits in the inbox."""
        self._inbox.taker = self._take
        try:
            await self._rounds()
        finally:
            self._inbox.taker = None

    async def _rounds(self) -> None:
        ticked_ns = 0
        while True:
            await self._inbox.wait(min(TICK_S, self._perceiver.patience_s(self._clock.mono_ns())))
            for event in self._inbox.drain():
                self._take(event)
            now_ns = self._clock.mono_ns()
            if now_ns - ticked_ns >= TICK_S * 0.9e9 or not self._perceiver.patience_s(now_ns):
                ticked_ns = now_ns
                if self._perceiver.is_due(now_ns):  # else nothing would be cut, and a replay needs no such tick
                    self._tick(now_ns)
                self._round_done()

    def _tick(self, now_ns: int) -> None:
        self.now_ns = now_ns
        if self._record:
            self._record(["tick", now_ns])
        self._hand_on(self._perceiver.tick(now_ns))

    def _take(self, event: Event) -> None:
        if isinstance(event, Samples):
            self.now_ns = event.batch[-1].mono_ns if event.batch else self.now_ns
            if self._record:
                self._record(recording.samples_frame(event.batch))
            self._hand_on(self._perceiver.take(event.batch))
            self._keep(event)
        elif isinstance(event, LinkState):
            if self._record:
                self._record(recording.link_frame(event))
            self._perceiver.link(event)
            self._linked(event)
            self._ledger.append_many([Line("agent", _link(event))])
        elif isinstance(event, Gap):
            self._ledger.append_many([Line("gap", _gap(event))])
        else:
            if self._record:
                self._record(["alive", event.connector, event.mono_ns])
            self._perceiver.alive(event.connector, event.mono_ns)

    def _hand_on(self, windows: Sequence[Window]) -> None:
        for window in windows:
            self._put(window)

    def _keep(self, event: Samples) -> None:
        """Acknowledge after commit: samples of recorded tags first go to disk."""
        lines = [Line("sample", _sample(s)) for s in event.batch if s.tag in self.recorded_tags] if self.recorded_tags else []
        if self.on_disk:
            lines = self._new(lines)
        if not lines:
            if event.committed:
                event.committed()
        elif not self._ledger.append_many(lines, event.committed):
            self.not_recorded += len(lines)

    def _new(self, lines: list[Line]) -> list[Line]:
        fresh = [line for line in lines if key(line.payload) not in self.on_disk]
        self.recorded_before += len(lines) - len(fresh)
        return fresh


def _sample(sample: Sample) -> dict[str, Any]:
    value = sample.value if isinstance(sample.value, float | int | bool | str | None) else sample.value.tolist()
    finite = not isinstance(value, float) or value - value == 0
    return {"tag": sample.tag, "value": value if finite else str(value), "quality": sample.quality, "source_ns": sample.source_ns}


def _link(state: LinkState) -> dict[str, Any]:
    return {"event": "link", "connector": state.connector, "state": state.state, "reason": state.reason}


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "connector": gap.connector,
        "tag": gap.tag,
        "start_ns": gap.start_ns,
        "end_ns": gap.end_ns,
        "reason": gap.reason,
        "lost": gap.lost,
    }
