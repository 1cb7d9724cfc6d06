"""Policy `rules`: named states, conditions that must hold for a while to go from one to another, and what a state wants.

    states: {normal: [{when: "score > 0.8", for: 5 s, go: relief}], relief: [{when: "score < 0.3", for: 30 s, go: normal}]}
    actions: {relief: {trim: {speed: -200}}}

Hysteresis is two thresholds in two states. What a state trims, sets or calls it wants in every window: the executor writes only what
differs, and calls once. The state it starts in calls nothing until it is entered again: a restart is no event. A trim goes back to
neutral in any state that does not want it.
While the diagnosis is no evidence, or a condition cannot be decided, the state stays and the decision says `unknown`. Only a state
without actions can then still be entered, on what tags and status alone say: on no evidence one may let go, never act.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from edge_agent.config.model import Name, TagName
from edge_agent.config.types import Duration, Model
from edge_agent.contracts import Situation
from edge_agent.decide.assembly import Assembly, Path
from edge_agent.decide.explaining import number, undecided
from edge_agent.decide.expressions import Expression
from edge_agent.decide.timers import CoolDown, Dwell, Stay
from edge_agent.decide.vocabulary import values, vocabulary
from edge_agent.decide.words import suggest
from edge_agent.messages import Decision, Proposal


class Transition(Model):
    """A way out of a state."""

    when: str = Field(description="expression that must hold, like 'score > 0.8'")
    for_: Duration = Field(default=0.0, alias="for", description="how long it must hold")
    windows: Annotated[int, Field(ge=1, description="for how many windows it must hold")] = 1
    go: Name = Field(description="the state to go to")


class Actions(Model):
    """What a state wants."""

    trim: dict[TagName, float] = Field(default_factory=dict, description="tag -> value relative to its neutral")
    set: dict[TagName, float | int | bool | str] = Field(default_factory=dict, description="tag -> value")
    call: dict[TagName, list[float | int | bool | str]] = Field(
        default_factory=dict, description="method -> arguments, called once each time the state is entered"
    )

    @property
    def tags(self) -> frozenset[str]:
        """Everything it writes."""
        return frozenset((*self.trim, *self.set, *self.call))


class Config(Model):
    """Named states, and what leads from one to another."""

    policy: Literal["rules"]
    states: dict[Name, list[Transition]] = Field(min_length=1, description="state -> ways out, the first that holds wins")
    actions: dict[Name, Actions] = Field(default_factory=dict, description="state -> what it wants")
    initial: Name | None = Field(default=None, description="where it starts; default: the first state")
    cool_down: Duration = Field(default=0.0, description="after acting ended, at least this long before it may act again")
    grace: Duration = Field(default=3.0, description="how long a condition may be unknown before its `for` starts again")


def expressions(config: Config) -> list[tuple[Path, str]]:
    """Every expression with its path."""
    return [(path, t.when) for path, t in _transitions(config)]


def _transitions(config: Config) -> Iterator[tuple[Path, Transition]]:
    for state, ways in config.states.items():
        for i, way in enumerate(ways):
            yield ("states", state, i, "when"), way


class _Way(NamedTuple):
    """A way out of a state, ready to run."""

    when: Expression
    go: str
    acts: bool  # it leads to a state that wants something
    dwell: Dwell
    condition: Transition


class Policy:
    """Walks from state to state."""

    def __init__(self, config: Config, *, loop: str, tags: Collection[str], writable: Collection[str]) -> None:
        self._loop, self._config = loop, config
        initial = config.initial or next(iter(config.states))
        self._stay = Stay(initial)
        self._nothing = Actions()
        assembly = Assembly(vocabulary(tags, states=tuple(config.states)), writable)
        _check_states(config, initial, assembly)
        _check_actions(config, assembly)
        self._ways: dict[str, list[_Way]] = {state: [] for state in config.states}
        for path, way in _transitions(config):
            when = assembly.expression(path, way.when, "truth")
            dwell = Dwell(way.for_, way.windows, config.grace)
            self._ways[str(path[1])].append(_Way(when, way.go, bool(self._wants(way.go).tags), dwell, way))
        assembly.finish()
        self._cool_down = CoolDown(config.cool_down)
        self.reset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset(tag for actions in self._config.actions.values() for tag in actions.tags)

    def reset(self) -> None:
        self._stay.reset()
        self._why = ""  # what led into the state
        self._trimmed: dict[str, None] = {}  # tags that were trimmed, in order
        self._cool_down.reset()
        self._rewind()

    def step(self, situation: Situation) -> Decision:
        window, previous = situation.window, self._stay.state
        known = values(situation, state=previous, elapsed_s=self._stay.elapsed_s(window.end_ns))
        evidence = situation.diagnosis.status == "ok"
        answers = [way.when.truth(known) for way in self._ways[self._stay.state]]
        chosen = self._choose(answers, window.end_ns, evidence=evidence)
        reason = self._enter(chosen, known, window.end_ns) if chosen else self._remain(answers, known, situation)
        return Decision(
            loop=self._loop,
            seq=window.seq,
            window=window.seq,
            end_ns=window.end_ns,
            state=self._stay.state,
            previous=previous,
            proposals=self._proposals(),
            reason=reason,
            unknown=not evidence or (chosen is None and None in answers),
        )

    def _choose(self, answers: list[bool | None], at_ns: int, *, evidence: bool) -> _Way | None:
        """The first way out that has held long enough. All of them see every window."""
        ready = []
        for way, answer in zip(self._ways[self._stay.state], answers, strict=True):
            barred = way.acts and not evidence and answer
            held = way.dwell.step(None if barred else answer, at_ns)
            ready.append(held and not (way.acts and self._cool_down.remaining_s(at_ns) > 0))
        return next((way for way, is_ready in zip(self._ways[self._stay.state], ready, strict=True) if is_ready), None)

    def _enter(self, way: _Way, known: dict[str, object], at_ns: int) -> str:
        left = self._stay.state
        if self._wants(left).tags and not way.acts:
            self._cool_down.start(at_ns)
        self._stay.enter(way.go, at_ns)
        self._why = f"{way.when.explain(known)}{_held(way)}"
        self._rewind()
        return f"{left} -> {way.go}: {self._why}"

    def _rewind(self) -> None:
        for way in self._ways[self._stay.state]:
            way.dwell.reset()

    def _wants(self, state: str) -> Actions:
        return self._config.actions.get(state, self._nothing)

    def _proposals(self) -> tuple[Proposal, ...]:
        state, why = self._stay.state, self._why or "initial state"
        wants = self._wants(state)
        self._trimmed.update(dict.fromkeys(wants.trim))
        neutral = [t for t in self._trimmed if t not in wants.trim and t not in wants.set]
        return (
            *(Proposal("trim", tag, value, f"{state}: {why}") for tag, value in wants.trim.items()),
            *(Proposal("set", tag, value, f"{state}: {why}") for tag, value in wants.set.items()),
            *(Proposal("call", tag, tuple(given), f"{state}: {why}") for tag, given in wants.call.items() if self._why),
            *(Proposal("trim", tag, 0.0, f"{state}: back to neutral, {why}") for tag in neutral),
        )

    def _remain(self, answers: list[bool | None], known: dict[str, object], situation: Situation) -> str:
        state = self._stay.state
        ways = self._ways[state]
        if situation.diagnosis.status != "ok":
            return f"{state} kept: {undecided(situation.diagnosis)}"
        for way, answer in zip(ways, answers, strict=True):
            if answer is None:
                return f"{state} kept: {way.when.explain(known)} cannot be decided"
        for way, answer in zip(ways, answers, strict=True):
            if answer:
                return f"{state}: {way.when.explain(known)}{_held(way)}, {self._missing(way, situation.window.end_ns)}"
        return f"{state}: {ways[0].when.explain(known)} does not hold" if ways else f"{state}: no way out"

    def _missing(self, way: _Way, at_ns: int) -> str:
        if way.dwell.done:
            return f"but {way.go} has to cool down for another {number(self._cool_down.remaining_s(at_ns))} s"
        windows = f" and {way.condition.windows} windows" if way.condition.windows > 1 else ""
        return f"needs {number(way.condition.for_)} s{windows}"


def _held(way: _Way) -> str:
    windows = f" and {way.dwell.held_windows} windows" if way.condition.windows > 1 else ""
    return f" for {number(way.dwell.held_s)} s{windows}" if way.condition.for_ or windows else ""


def _check_states(config: Config, initial: str, assembly: Assembly) -> None:
    states = config.states
    for path, way in _transitions(config):
        if way.go not in states:
            assembly.wrong((*path[:-1], "go"), _no_state(way.go, states))
        elif way.go == path[1]:
            assembly.wrong((*path[:-1], "go"), f"leads from {way.go!r} to itself; name another state")
    if initial not in states:
        assembly.wrong(("initial",), _no_state(initial, states))
        return
    for state in [s for s in states if s not in _reachable(config, initial)]:
        assembly.wrong(("states", state), f"no way leads from {initial!r} to {state!r}; add one or remove the state")


def _check_actions(config: Config, assembly: Assembly) -> None:
    for state, actions in config.actions.items():
        if state not in config.states:
            assembly.wrong(("actions", state), _no_state(state, config.states))
        for kind in ("trim", "set", "call"):
            for tag in getattr(actions, kind):
                assembly.writes(("actions", state, kind, tag), tag)
        for tag in [t for t in actions.trim if t in actions.set]:
            assembly.wrong(("actions", state, "set", tag), f"{tag!r} is both trimmed and set here; keep one")


def _no_state(name: str, states: Collection[str]) -> str:
    return f"there is no state {name!r}{suggest(name, states) or '; there are ' + ', '.join(states)}"


def _reachable(config: Config, initial: str) -> set[str]:
    found, waiting = set[str](), [initial]
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            waiting += [way.go for way in config.states.get(state, ())]
    return found
