"""In which mode is a loop, and what may change that? A pure state machine; time is handed in.

off -- observe -- advise -- armed          a person raises it, up to the configured highest
                              |  ^
         bad inputs, ledger   v  |  good again
                             hold
                              |      too long, operator, expiry, disarm, model change, shutdown
                              v
                             shed ----> observe (or wherever a person sent it)
from everywhere: rival, failed guard ----> lockout, until a person resets it
from everywhere: stop ----> observe, at once, without ramping back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.messages import Mode, Scalar

Event = Literal[
    "raise",  # by a person: to off, observe, advise or armed
    "rearm",  # by itself after a restart: tier 1 with `rearm: auto`
    "tick",  # time went on
    "restart",
    "changed",  # configuration or model
    "inputs_bad",
    "inputs_good",  # one fit window
    "ledger_bad",
    "ledger_good",
    "unknown",  # a write of unknown outcome
    "resolved",  # its outcome is known
    "override",  # an operator took the tag or moved the base
    "failed",  # the plant refuses, reverts or does not respond
    "shed",  # shutdown, or the app asks for it
    "shed_done",
    "rival",
    "broken",  # a guard raised
    "stop",
    "reset",  # by a person, after a lockout
]

_RISING = (Mode.OFF, Mode.OBSERVE, Mode.ADVISE, Mode.ARMED)
_ACTIVE = frozenset({Mode.ARMED, Mode.HOLD, Mode.SHED})
_HOLDS: dict[str, str] = {"inputs_bad": "inputs", "ledger_bad": "ledger", "unknown": "unknown", "override": "operator"}
_HEALS: dict[str, str] = {"ledger_good": "ledger", "resolved": "unknown"}
_SHEDS = frozenset({"changed", "failed", "shed"})
_LOCKS = frozenset({"rival", "broken"})

LONGEST_ARMING_S = 31 * 24 * 3600.0
LONGEST_APPROVAL_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The mode changed; goes into the ledger."""

    loop: str
    before: Mode
    after: Mode
    event: Event
    reason: str
    by: str
    at_mono_ns: int
    until_mono_ns: int | None

    def payload(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "from": self.before.value,
            "to": self.after.value,
            "event": self.event,
            "reason": self.reason,
            "by": self.by,
            "until_mono_ns": self.until_mono_ns,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's yes to one value of one tag: used once, forgotten soon."""

    tag: str
    value: Scalar | tuple[Scalar, ...]
    by: str
    expires_ns: int


class Modes:
    """Keeper of one loop's mode. After a restart a loop observes, whatever it did before."""

    def __init__(
        self,
        *,
        loop: str,
        highest: Mode,
        tier: int = 0,
        rearm: Literal["manual", "auto"] = "manual",
        good_windows: int = 3,
        longest_hold_s: float = 300.0,
        locked: str | None = None,
    ) -> None:
        """`locked`: the reason of a lockout that stood when the agent last stopped; a restart does not lift it."""
        if highest not in _RISING:
            raise ValueError(f"{loop}: {highest} cannot be the highest mode; it is one of {', '.join(_RISING)}")
        self.loop, self.highest, self.tier, self.rearm = loop, highest, tier, rearm
        self._good_windows, self._longest_hold_ns = good_windows, int(longest_hold_s * 1e9)
        self.mode = self._after_start() if locked is None else Mode.LOCKOUT
        self.until_ns: int | None = None
        self.reason = "start" if locked is None else locked
        self._causes: set[str] = set()
        self._good = 0
        self._held_since_ns = 0
        self._afterwards = Mode.OBSERVE
        self._approvals: dict[str, Approval] = {}

    @property
    def causes(self) -> tuple[str, ...]:
        """Why it holds."""
        return tuple(sorted(self._causes))

    def refusal(self, event: Event, *, to: Mode | None = None, reason: str = "", for_s: float | None = None) -> str | None:
        """Why `apply` would do nothing with a person's wish; None if it would not refuse."""
        if event == "reset":
            return None if self.mode is Mode.LOCKOUT else f"{self.loop} is not locked out"
        if event == "rearm" and (self.tier != 1 or self.rearm != "auto"):
            return f"{self.loop}: only tier 1 with `rearm: auto` arms itself"
        if event not in ("raise", "rearm"):
            return None
        if self.mode is Mode.LOCKOUT:
            return f"{self.loop} is locked out ({self.reason}); find out why, then reset it"
        return self._refuse_target(Mode.ARMED if event == "rearm" else to, reason, for_s)

    def apply(
        self, event: Event, now_ns: int, *, reason: str = "", by: str = "agent", to: Mode | None = None, for_s: float | None = None
    ) -> Transition | None:
        """Take in what happened; the transition if the mode changed. A wish that is refused changes nothing."""
        if self.refusal(event, to=to, reason=reason, for_s=for_s) is not None:
            return None
        before, was_until = self.mode, self.until_ns
        after = self._next(event, now_ns, to, for_s)
        if after is before and (after is not Mode.ARMED or self.until_ns == was_until):
            return None
        self.reason = self._because(event, after, now_ns, reason)
        self._enter(after, now_ns)
        return Transition(
            loop=self.loop,
            before=before,
            after=after,
            event=event,
            reason=self.reason,
            by=by,
            at_mono_ns=now_ns,
            until_mono_ns=self.until_ns,
        )

    def approve(self, tag: str, value: Scalar | tuple[Scalar, ...], now_ns: int, *, by: str, for_s: float = 60.0) -> Approval:
        """A person says yes to this value. One yes a tag; a newer one replaces it."""
        approval = Approval(tag=tag, value=value, by=by, expires_ns=now_ns + int(min(for_s, LONGEST_APPROVAL_S) * 1e9))
        self._approvals[tag] = approval
        return approval

    def approval(self, tag: str, now_ns: int) -> Approval | None:
        """The yes that stands for this tag."""
        found = self._approvals.get(tag)
        return found if found is not None and now_ns < found.expires_ns else None

    def use(self, tag: str) -> None:
        """The yes has been used: it is gone, whatever becomes of the write."""
        self._approvals.pop(tag, None)

    def _after_start(self) -> Mode:
        return min(self.highest, Mode.OBSERVE, key=_RISING.index)

    def _refuse_target(self, to: Mode | None, reason: str, for_s: float | None) -> str | None:
        if to not in _RISING:
            return f"{self.loop}: {to} cannot be asked for; ask for one of {', '.join(_RISING)}"
        if _RISING.index(to) > _RISING.index(self.highest):
            return f"{self.loop}: the configuration allows {self.highest} at most"
        if to is not Mode.ARMED:
            return None
        if self.tier not in (1, 2):
            return f"{self.loop}: tier {self.tier} never writes; nothing to arm"
        if not reason.strip():
            return f"{self.loop}: arming needs a reason"
        if for_s is None or not 0 < for_s <= LONGEST_ARMING_S:
            return f"{self.loop}: arming needs a duration up to {LONGEST_ARMING_S / 86400:.0f} days"
        if self.mode in (Mode.HOLD, Mode.SHED):
            return f"{self.loop} is in {self.mode} ({self.reason}); wait until it observes again"
        return None

    def _next(self, event: Event, now_ns: int, to: Mode | None, for_s: float | None) -> Mode:
        if event in _LOCKS:
            return Mode.LOCKOUT if self.mode is not Mode.OFF else Mode.OFF
        if event == "restart":
            return self.mode if self.mode is Mode.LOCKOUT else self._after_start()
        if event in ("stop", "reset"):
            return self._after_start() if event == "reset" or self.mode in _ACTIVE else self.mode
        if event in ("raise", "rearm"):
            return self._asked(Mode.ARMED if to is None else to, now_ns, for_s)
        if self.mode not in _ACTIVE:
            return self.mode
        return self._while_active(event, now_ns)

    def _asked(self, to: Mode, now_ns: int, for_s: float | None) -> Mode:
        if to is Mode.ARMED:
            self.until_ns = now_ns + int((for_s or 0.0) * 1e9)
            return to
        if self.mode in _ACTIVE:
            self._afterwards = to
            return Mode.SHED
        return to

    def _while_active(self, event: Event, now_ns: int) -> Mode:
        if self.mode is Mode.SHED:
            return self._afterwards if event == "shed_done" else Mode.SHED
        if event in _SHEDS or self._run_out(now_ns):
            return Mode.SHED
        if event in _HOLDS:
            self._causes.add(_HOLDS[event])
            self._good = 0
            return Mode.HOLD
        return self._holding(event, now_ns) if self.mode is Mode.HOLD else Mode.ARMED

    def _holding(self, event: Event, now_ns: int) -> Mode:
        """Out of hold: back to armed once every cause has healed; to shed when it lasts or an operator took over."""
        if event in _HEALS:
            self._causes.discard(_HEALS[event])
        elif event == "inputs_good":
            self._good += 1
            if self._good >= self._good_windows:
                self._causes.discard("inputs")
        if not self._causes:
            return Mode.ARMED
        lasting = now_ns - self._held_since_ns >= self._longest_hold_ns
        return Mode.SHED if lasting or "operator" in self._causes else Mode.HOLD

    def _run_out(self, now_ns: int) -> bool:
        return self.until_ns is None or now_ns >= self.until_ns

    def _because(self, event: Event, after: Mode, now_ns: int, reason: str) -> str:
        """In a person's words: what took it down counts, not what happened last."""
        if after is Mode.SHED and event not in _SHEDS and event not in ("raise", "rearm"):
            if self._run_out(now_ns):
                return "the arming ran out"
            return self.reason if "operator" in self._causes and self.mode is Mode.HOLD else f"held too long: {self.reason}"
        if self.mode is Mode.HOLD and after is Mode.ARMED:
            return "good again"
        return reason or (f"{event}: {', '.join(self.causes)}" if self._causes else event)

    def _enter(self, after: Mode, now_ns: int) -> None:
        if after is Mode.HOLD:
            self._held_since_ns = now_ns
        else:
            self._good = 0
        if after not in (Mode.ARMED, Mode.HOLD):
            self.until_ns = None
            self._approvals.clear()
        if after not in _ACTIVE:
            self._afterwards = self._after_start()
            self._causes.clear()
        if after is Mode.ARMED:
            self._causes.clear()
        self.mode = after
