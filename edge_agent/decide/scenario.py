"""Does a policy decide what its technician expects? Runs a policy on made-up diagnoses: the `tests:` of a configuration.

    tests:
      - name: five seconds of trouble start the relief
        loop: p1-valve
        given:
          - {at: 0 s, score: 0.2, tags: {flow: 31, running: true}}
          - {at: 10 s, score: 0.9}
        expect:
          - {at: 12 s, state: normal, propose: {}}
          - {at: 15 s, state: relief, propose: {speed: -200}}

What is given stays until something else is given. A window comes at 0 s and then at every `every`, until the last expectation.
Nothing but the policy runs: no model, no gate, no plant. A tag holds what was wanted of it in the window before, as if it had been written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from edge_agent.config.model import Name, TagName
from edge_agent.config.types import Duration, Model, Share
from edge_agent.contracts import Policy, Situation
from edge_agent.decide.link import Decider
from edge_agent.messages import Decision, Diagnosis, DiagnosisStatus, Quality, Reading, Scalar, Window

_START_NS = 1_700_000_000_000_000_000  # any time will do, as long as it is always the same
_QUALITY = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD, "stale": Quality.STALE}

Plain = float | int | bool | str


class Sensor(Model):
    """A tag's value with what else there is to say of it."""

    value: Plain | None = None
    quality: Literal["good", "uncertain", "bad", "stale"] = "good"
    age: Duration = Field(default=0.0, description="how old the value is")


class Given(Model):
    """What is so from this time on; what is not named stays as it was."""

    at: Duration = Field(default=0.0, description="since the start of the test")
    status: DiagnosisStatus | None = None
    score: float | None = None
    raw: float | None = None
    confidence: Share | None = None
    novelty: Share | None = None
    lower: float | None = None
    upper: float | None = None
    drifting: bool | None = None
    label: str | None = None
    probabilities: dict[str, Share] | None = Field(default=None, description="label -> probability")
    contributions: dict[TagName, Share] | None = Field(default=None, description="tag -> share of the blame")
    tags: dict[TagName, Plain | Sensor] = Field(default_factory=dict, description="tag -> value, or {value, quality, age}")
    armed: bool | None = Field(default=None, description="whether the loop is armed; at first it is")
    applied: dict[TagName, Plain] = Field(default_factory=dict, description="what the plant holds, where it did not take what was wanted")


class Expected(Model):
    """What is decided at this time; what is not named may be anything."""

    at: Duration = Field(description="since the start of the test; the last window up to then is looked at")
    until: Duration | None = Field(default=None, description="and in every window up to this time")
    state: str | None = None
    propose: dict[TagName, Plain | list[Plain]] | None = Field(default=None, description="everything that is wanted; {}: nothing")
    unknown: bool | None = None
    reason: str | None = Field(default=None, description="words that the reason holds")


class Case(Model):
    """One test of one loop's policy."""

    name: Annotated[str, Field(min_length=1, description="what is to be shown, as a sentence")]
    loop: Name
    every: Duration | None = Field(default=None, description="time between two windows; default: the loop's own, else 1 s")
    given: list[Given] = Field(min_length=1)
    expect: list[Expected] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One expectation that was not met."""

    at_s: float
    what: str  # state, propose, unknown, reason
    expected: str
    got: str
    reason: str  # the policy's own

    def __str__(self) -> str:
        return f"at {self.at_s:g} s: {self.what}: expected {self.expected}, got {self.got} ({self.reason})"


def run(case: Case, policy: Policy, *, every_s: float = 1.0) -> list[Failure]:
    """Run a case on a policy that is fresh; what was not as expected, in order of time."""
    decisions = list(_decisions(case, policy, case.every or every_s))
    found = [f for expected in case.expect for at_s, decision in _meant(expected, decisions) for f in _compare(expected, at_s, decision)]
    return sorted(found, key=lambda failure: failure.at_s)


def unknown_names(case: Case, tags: Mapping[str, object] | frozenset[str]) -> list[tuple[tuple[str | int, ...], str]]:
    """Tags that a case names and nobody knows: (path below the case, name)."""
    named = [(("given", i, kind, tag), tag) for i, g in enumerate(case.given) for kind in ("tags", "applied") for tag in getattr(g, kind)]
    named += [(("expect", i, "propose", tag), tag) for i, e in enumerate(case.expect) for tag in e.propose or ()]
    return [(path, tag) for path, tag in named if tag not in tags]


def _decisions(case: Case, policy: Policy, every_s: float) -> Iterator[tuple[float, Decision]]:
    decider, plant = Decider(policy, case.loop), dict[str, Scalar | None]()
    end_s = max(e.until or e.at for e in case.expect)
    for n in range(math.floor(end_s / every_s + 1e-9) + 1):
        now = _now(case.given, n * every_s)
        plant |= now["applied"]
        decision = decider.decide(_situation(case.loop, n, round(n * every_s * 1e9), now, plant))
        if now["armed"]:
            plant |= {p.tag: p.value for p in decision.proposals if not isinstance(p.value, tuple)}
        yield n * every_s, decision


def _now(given: list[Given], at_s: float) -> dict[str, Any]:
    """All that has been given up to now, the later over the earlier."""
    now: dict[str, Any] = {"status": "ok", "armed": True, "tags": {}, "applied": {}}
    for each in sorted((g for g in given if g.at <= at_s + 1e-9), key=lambda g: g.at):
        said = {key: getattr(each, key) for key in each.model_fields_set}
        now |= {**said, **{kind: now[kind] | said.get(kind, {}) for kind in ("tags", "applied")}}
    return now


def _situation(loop: str, seq: int, at_ns: int, now: Mapping[str, Any], plant: Mapping[str, Scalar | None]) -> Situation:
    at_ns += _START_NS
    window = Window(
        loop=loop,
        seq=seq,
        tags=(),
        start_ns=at_ns,
        end_ns=at_ns,
        cut_ns=at_ns,
        mono_ns=at_ns,
        values=np.zeros((0, 0), np.float32),
        quality=np.zeros((0, 0), np.uint16),
        live={tag: _reading(value, at_ns) for tag, value in now["tags"].items()},
        fit=now["status"] == "ok",
    )
    diagnosis = Diagnosis(
        loop=loop,
        window=seq,
        end_ns=at_ns,
        status=now["status"] or "ok",
        score=now.get("score"),
        raw=now.get("raw"),
        confidence=now.get("confidence"),
        novelty=now.get("novelty"),
        lower=now.get("lower"),
        upper=now.get("upper"),
        drifting=("given",) if now.get("drifting") else (),
        label=now.get("label"),
        probabilities=now.get("probabilities") or {},
        contributions=tuple(sorted((now.get("contributions") or {}).items(), key=lambda item: -item[1])),
    )
    return Situation(window=window, diagnosis=diagnosis, applied=dict(plant), armed=bool(now["armed"]))


def _reading(value: Plain | Sensor, at_ns: int) -> Reading:
    sensor = value if isinstance(value, Sensor) else Sensor(value=value)
    return Reading(sensor.value, int(_QUALITY[sensor.quality]), at_ns - round(sensor.age * 1e9), sensor.age)


def _meant(expected: Expected, decisions: list[tuple[float, Decision]]) -> list[tuple[float, Decision]]:
    """The window up to that time, and all until the end of the expectation."""
    before = [d for d in decisions if d[0] <= expected.at + 1e-9][-1:]
    return before + [d for d in decisions if expected.at + 1e-9 < d[0] <= (expected.until or 0.0) + 1e-9]


def _compare(expected: Expected, at_s: float, got: Decision) -> Iterator[Failure]:
    wanted = {p.tag: list(p.value) if isinstance(p.value, tuple) else p.value for p in got.proposals}
    checks: list[tuple[str, Any, Any, bool]] = [
        ("state", expected.state, got.state, expected.state == got.state),
        ("propose", expected.propose, wanted, _alike(expected.propose or {}, wanted)),
        ("unknown", expected.unknown, got.unknown, expected.unknown == got.unknown),
        ("reason", expected.reason, got.reason, (expected.reason or "") in got.reason),
    ]
    for what, want, have, met in checks:
        if want is not None and not met:
            yield Failure(at_s=at_s, what=what, expected=_shown(want), got=_shown(have), reason=got.reason)


def _alike(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    return expected.keys() == got.keys() and all(_equal(value, got[tag]) for tag, value in expected.items())


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int):
        return isinstance(one, bool) == isinstance(other, bool) and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return bool(one == other)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{tag}: {_shown(v)}" for tag, v in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
