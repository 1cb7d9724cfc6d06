"""From a decision to verified outcomes: what one loop writes, and how it lets go again.

act     a wish becomes one permitted step at a time; a standing wish that is held writes nothing
tick    between windows: stop file, expiry, operators, open outcomes, shedding, the heartbeat last
arm     pre-arm checks against the device, then the mode; shed: back to neutral before the agent leaves
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock
from edge_agent.config.model import Tag, Write
from edge_agent.contracts import Journal, Writable
from edge_agent.execute.actuator import Actuator, Assets
from edge_agent.execute.aims import Aim, aims, track
from edge_agent.execute.book import Book
from edge_agent.execute.evidence import Case, absolute, told_interlocks
from edge_agent.execute.gate.facts import Scalar, Value
from edge_agent.execute.gate.permit import Finding
from edge_agent.execute.lease import Lease
from edge_agent.execute.prearm import capture, check
from edge_agent.execute.station import Change, Health, Held, Interlock, ModeEvent, ModeKeeper, Station
from edge_agent.execute.steps import Steps
from edge_agent.execute.supervision import Supervision
from edge_agent.execute.terms import Bounds, ModelTerms, Owner
from edge_agent.messages import Decision, Diagnosis, Mode, Outcome, Reading, Window

_ACTIVE = frozenset({Mode.ARMED, Mode.HOLD, Mode.SHED})
_SHED_PAUSE_S = 0.2


class Executor:
    """Execute for one loop."""

    def __init__(
        self,
        *,
        loop: str,
        writes: Mapping[str, Write],
        tags: Mapping[str, Tag],
        tier: int,
        ports: Mapping[str, Writable],
        journal: Journal,
        clock: Clock,
        modes: ModeKeeper,
        config_hash: str,
        card: ModelTerms,
        live: Callable[[str], Reading],
        interlocks: Mapping[str, Sequence[Interlock]],
        self_check: Callable[[], Health],
        stop_file: Path | None,
        bounds: Bounds | None = None,
        assets: Assets | None = None,
        left: Mapping[str, Scalar] | None = None,
    ) -> None:
        """`ports` by tag, lease tags included; `assets` is shared by all loops of an agent: one write in flight a device; `left`
        are trims of an earlier run: a tag that still reads so at arming is ours to take back."""
        bounds = bounds or Bounds()
        self._station = station = Station(
            owner=Owner(loop=loop, tier=tier, model=card, bounds=bounds),
            writes=writes,
            tags=tags,
            ports=ports,
            clock=clock,
            modes=modes,
            config_hash=config_hash,
            live=live,
            interlocks=interlocks,
            health=self_check,
            stop_file=stop_file,
        )
        self._book = Book(journal, loop)
        self._held: dict[str, Held] = station.remember(clock.mono_ns())
        for tag, value in (left or {}).items():
            if tag in self._held:
                self._held[tag].left = value
        actuator = Actuator(
            ports=ports, book=self._book, clock=clock, write_timeout_s=bounds.write_timeout_s, read_timeout_s=bounds.read_timeout_s
        )
        self._steps = Steps(station, self._held, self._book, actuator, assets or Assets(), self.change)
        self._supervision = Supervision(station, self._held, self._book, actuator, self._steps)
        self._leases = {
            write.lease.tag: Lease(write.lease.tag, ports[write.lease.tag], every_s=write.lease.every, clock=clock)
            for write in writes.values()
            if write.lease is not None
        }
        self._stops = 0
        self._good_windows = 0
        self._previous_end_ns = 0
        self._window_ns: int | None = None

    @property
    def applied(self) -> Mapping[str, Scalar | None]:
        """What the plant confirmed last for each writable tag; None where nothing is known."""
        return {tag: held.value for tag, held in self._held.items()}

    @property
    def good_windows(self) -> int:
        """How many windows in a row were evidence."""
        return self._good_windows

    @property
    def armed(self) -> bool:
        return self._station.modes.mode is Mode.ARMED

    @property
    def at_rest(self) -> bool:
        """Whether `tick` has nothing to look after: not active, nothing owed, no outcome open."""
        if self._station.modes.mode in _ACTIVE or self._book.owed:
            return False
        return not any(held.unresolved or held.watch for held in self._held.values())

    def status(self) -> Mapping[str, Any]:
        """For `edge-agent status`."""
        modes, now = self._station.modes, self._station.clock.mono_ns()
        return {
            "mode": modes.mode.value,
            "reason": modes.reason,
            "armed_for_s": None if modes.until_ns is None else max(0.0, (modes.until_ns - now) / 1e9),
            "good_windows": self._good_windows,
            "owed_records": self._book.owed,
            "dropped_records": self._book.dropped,
            "missed_beats": sum(lease.missed for lease in self._leases.values()),
            "tags": {tag: _tag_status(held) for tag, held in self._held.items()},
        }

    async def act(self, decision: Decision, diagnosis: Diagnosis, window: Window) -> tuple[Outcome, ...]:
        """One turn: at most one step for each tag. What the gate refuses comes back as "refused" with every reason."""
        if self._station.modes.mode is Mode.OFF:
            return ()
        case = self._case(decision, diagnosis, window)
        await self._weigh(case)
        track(self._held, case, self._station.clock.mono_ns())
        outcomes = []
        for aim in aims(self._station, self._held, case):
            if (outcome := await self._steps.take(aim, case)) is not None:
                outcomes.append(outcome)
        return tuple(outcomes)

    async def tick(self) -> tuple[Outcome, ...]:
        """Look after what is under way. The heartbeat comes last: it says that all this has been done."""
        modes = self._station.modes
        if modes.mode in _ACTIVE and self._station.stopped:
            await self.change("stop", reason="stop file", by="operator")
            return ()
        await self._supervision.ledger()
        outcomes = await self._supervision.open_outcomes()
        if modes.mode not in _ACTIVE:
            return tuple(outcomes)
        await self._starved()
        await self.change("tick")
        await self._supervision.describe()
        await self._supervision.operators()
        await self._rivals()
        if modes.mode is Mode.SHED:
            outcomes += await self._shed_step()
        await self._beat()
        return tuple(outcomes)

    async def pre_arm(self) -> tuple[Finding, ...]:
        """Read from the devices what the gate needs, and say what speaks against arming. Writes nothing."""
        if self._station.modes.mode not in _ACTIVE:
            await capture(self._station, self._held, self._steps.actuator)
        return await check(self._station, self._held, self._book, self._leases)

    async def arm(self, *, by: str, reason: str, for_s: float, event: ModeEvent = "raise") -> tuple[Finding, ...]:
        """Pre-arm checks, then armed; the findings that were in the way, none if it is armed now."""
        modes = self._station.modes
        if event not in ("raise", "rearm"):
            raise ValueError(f"{event} does not arm")
        if (no := modes.refusal(event, to=Mode.ARMED, reason=reason, for_s=for_s)) is not None:
            return (Finding("mode", False, no),)
        stops = self._stops
        against = tuple(finding for finding in await self.pre_arm() if not finding.ok)
        if stops != self._stops:
            against += (Finding("operator", False, "somebody said stop while the devices were asked"),)
        if not against:
            await self.change(event, to=Mode.ARMED, reason=reason, by=by, for_s=for_s)
        return against

    async def lower(self, to: Mode, *, by: str, reason: str) -> str | None:
        """A person takes it down to off, observe or advise; an armed loop sheds first. Why not, if not."""
        no = self._station.modes.refusal("raise", to=to, reason=reason)
        if no is None:
            await self.change("raise", to=to, by=by, reason=reason)
        return no

    async def stop(self, *, by: str, reason: str) -> None:
        """No more writing, at once, not even back to neutral: the PLC takes the trim back as the heartbeat stops."""
        self._stops += 1
        await self.change("stop", by=by, reason=reason)

    async def reset(self, *, by: str, reason: str) -> str | None:
        """A person has looked into a lockout. Why not, if not."""
        no = self._station.modes.refusal("reset")
        if no is None:
            for held in self._held.values():
                held.foreign_ns = ()
            await self.change("reset", by=by, reason=reason)
        return no

    async def shed(self, reason: str, timeout_s: float = 120.0) -> bool:
        """Back to neutral at the configured rate; whether nothing of ours stands any more."""
        station = self._station
        await self.change("shed", reason=reason)
        deadline = station.clock.mono_ns() + int(timeout_s * 1e9)
        while station.modes.mode is Mode.SHED and station.clock.mono_ns() < deadline:
            await self.tick()
            if station.modes.mode is Mode.SHED:
                await station.clock.sleep(_SHED_PAUSE_S)
        return not any(station.away(tag, held) for tag, held in self._held.items())

    def reconnected(self, tags: Sequence[str] = ()) -> None:
        """A link came up again: what its device says of these tags (all, if none is named) has to be read anew."""
        for tag, held in self._held.items():
            if not tags or tag in tags:
                held.described = None

    async def change(
        self, event: ModeEvent, *, reason: str = "", by: str = "agent", to: Mode | None = None, for_s: float | None = None
    ) -> Change | None:
        """Tell the modes what happened; every transition goes on record."""
        change = self._station.modes.apply(event, self._station.clock.mono_ns(), reason=reason, by=by, to=to, for_s=for_s)
        if change is not None:
            await self._book.note("mode", change.payload())
            self._steps.free()
        return change

    def _case(self, decision: Decision, diagnosis: Diagnosis, window: Window) -> Case:
        good = window.fit and diagnosis.status == "ok"
        self._good_windows = self._good_windows + 1 if good else 0
        previous, self._previous_end_ns = self._previous_end_ns, window.end_ns
        self._window_ns = window.mono_ns
        wishes: dict[str, tuple[str, Value]] = {}
        for proposal in decision.proposals:
            write = self._station.writes.get(proposal.tag)
            neutral, listed = (write.neutral, write.values is not None) if write else (0.0, False)
            wishes[proposal.tag] = (proposal.kind, absolute(proposal, neutral, listed))
        return Case(
            window=window,
            diagnosis=diagnosis,
            decision=decision,
            wishes=wishes,
            previous_end_ns=previous,
            good_windows=self._good_windows,
        )

    async def _weigh(self, case: Case) -> None:
        """Bad inputs and undecidable conditions hold the loop; good ones, one after the other, release it."""
        if case.good_windows and not case.decision.unknown:
            await self.change("inputs_good")
        else:
            why = "; ".join(case.window.reasons) or case.diagnosis.why or case.decision.reason or case.diagnosis.status
            await self.change("inputs_bad", reason=f"inputs: {why}")

    async def _starved(self) -> None:
        """No window for a long time is a bad input too."""
        limit = self._station.owner.bounds.starved_s
        if limit is None or self._window_ns is None:
            return
        if self._station.clock.mono_ns() - self._window_ns > int(limit * 1e9):
            self._good_windows = 0
            await self.change("inputs_bad", reason=f"inputs: no window for {limit:g} s")

    async def _rivals(self) -> None:
        health = self._station.health()
        if health.epoch is not None and health.newest_epoch is not None and health.newest_epoch > health.epoch:
            await self.change("rival", reason=f"agent of epoch {health.newest_epoch} has taken over from ours, {health.epoch}")
        for lease in self._leases.values():
            if lease.contested(self._station.present(lease.tag)):
                await self.change("rival", reason=f"somebody else counts on the lease {lease.tag}")

    async def _shed_step(self) -> list[Outcome]:
        outcomes = []
        standing = [tag for tag, held in self._held.items() if self._station.away(tag, held)]
        for tag in standing:
            aim = Aim(tag=tag, kind="trim", purpose="return", target=self._station.neutral(tag), reason=self._station.modes.reason)
            if (outcome := await self._steps.take(aim, None)) is not None:
                outcomes.append(outcome)
        if not any(self._station.away(tag, held) or held.unresolved for tag, held in self._held.items()):
            await self.change("shed_done", reason=f"{self._station.modes.reason}; nothing of ours stands any more")
        elif self._steps.blocked_for_s() > self._station.owner.bounds.longest_hold_s:
            await self.change("broken", reason="the way back to neutral is blocked: look at the tag, then reset")
        return outcomes

    def _forbidden(self) -> bool:
        standing = [tag for tag, held in self._held.items() if self._station.away(tag, held)]
        return any(truth is False for tag in standing for _, truth in told_interlocks(self._station, tag) or ())

    async def _beat(self) -> None:
        """Only while active, and not while the way back is blocked or an interlock of a standing trim is false:
        then the PLC shall take the trim back."""
        if self._station.modes.mode not in _ACTIVE or self._steps.blocked_for_s() > 0 or self._forbidden():
            return
        for lease in self._leases.values():
            await lease.beat()


def _tag_status(held: Held) -> Mapping[str, Any]:
    return {
        "value": held.value,
        "trimmed": held.moved,
        "taken_by_operator": held.taken,
        "unresolved_intent": held.unresolved.intent if held.unresolved else None,
        "waits_for_approval": held.pending,
        "failures": held.failures,
    }
