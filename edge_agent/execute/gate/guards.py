"""What does each guard of the permit chain ask? One function a guard; only the exact word OK is a yes.

Comparisons are written so that NaN fails them: `if not a <= b: no`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge_agent.execute.gate.clauses import OK, allowed, approved, asks, covers, fence, inside, parts, steady, too_fast, within_budgets
from edge_agent.execute.gate.facts import Facts, Request
from edge_agent.execute.gate.limits import Limits
from edge_agent.execute.gate.values import at_most, between, carries, multiple, number, same

BASE_NOISE: Final = 1e-6  # a setpoint that nobody moves reads the same, to the last digit a float keeps
Guard = Callable[[Request, Facts, Limits], str]


def contract(request: Request, facts: Facts, limits: Limits) -> str:
    """The device describes the tag as it did at arming, as the configuration needs it, under the same configuration."""
    seen = facts.contract
    if seen is None or seen.now is None or seen.armed is None:
        return "the device's description of the tag was not read"
    now, armed = seen.now, seen.armed
    if now.writable is not True:
        return "the device does not let us write it"
    if now.type != armed.type or now.unit != armed.unit:
        return f"was {armed.type} {armed.unit} at arming, is {now.type} {now.unit}"
    if not all(carries(now.type, value) for value in parts(request.value)):
        return f"the device's type {now.type} does not carry {request.value!r}"
    if limits.unit is not None and now.unit is not None and now.unit != limits.unit:
        return f"the device's unit is {now.unit}, the configuration's {limits.unit}"
    if request.purpose == "return":
        return OK
    if armed.writable is not True or now != armed:
        return f"access or range was {armed.writable} {armed.low}..{armed.high} at arming, is {now.writable} {now.low}..{now.high}"
    if not covers(now, limits):
        return f"the configured limits {limits.low}..{limits.high} lie outside the device's {now.low}..{now.high}"
    if not seen.config_hash or seen.config_hash != seen.armed_hash:
        return "the configuration is not the one that was armed"
    return OK


def model(request: Request, facts: Facts, limits: Limits) -> str:
    """The model is the one that was admitted, and its card allows this loop and tier."""
    known = facts.model
    if known is None:
        return "nothing is known of the model"
    if known.verified is not True:
        return "signature and hashes were not verified"
    if not known.hash or known.hash != known.admitted_hash:
        return "the diagnosis is not from the admitted model"
    if known.loops is None or not {request.loop, "*"} & known.loops:
        return f"the card does not name the loop {request.loop}"
    if type(known.tier) is not int or not limits.tier <= known.tier:
        return f"the card allows tier {known.tier}, the loop is tier {limits.tier}"
    if known.version is None or known.floor is None or known.version < known.floor:
        return f"version {known.version} is older than {known.floor}, which was armed before"
    return OK


def inputs(request: Request, facts: Facts, limits: Limits) -> str:
    """The window is evidence: fit, finite, fresh, moving on in time, and not the first good one after a bad one."""
    seen = facts.inputs
    if seen is None:
        return "there is no window"
    if seen.fit is not True:
        return "the window is not fit"
    if not seen.newest or any(number(value) is None for value in seen.newest):
        return "the newest row is not finite"
    age = number(seen.age_s)
    if age is None or not 0 <= age <= limits.max_age_s:
        return f"the window is {seen.age_s} s old, at most {limits.max_age_s} s are allowed"
    if type(seen.end_ns) is not int or type(seen.previous_end_ns) is not int or not seen.end_ns > seen.previous_end_ns:
        return "source time does not move on"
    if type(seen.good_windows) is not int or not seen.good_windows >= limits.good_windows:
        return f"{seen.good_windows} good windows in a row, {limits.good_windows} are needed"
    return OK


def output(request: Request, facts: Facts, limits: Limits) -> str:
    """The diagnosis is ok, inside its domain, and within the card's thresholds."""
    said = facts.output
    if said is None or said.status != "ok":
        return f"the diagnosis is {said.status if said else 'missing'}"
    score = number(said.score)
    if score is None or not inside(score, limits.score_low, limits.score_high):
        return f"score {said.score!r} is not in {limits.score_low}..{limits.score_high}"
    if limits.min_confidence is not None and not inside(said.confidence, limits.min_confidence, 1.0):
        return f"confidence {said.confidence!r} is below {limits.min_confidence}"
    if limits.max_novelty is not None and not inside(said.novelty, 0.0, limits.max_novelty):
        return f"novelty {said.novelty!r} is above {limits.max_novelty}"
    return OK


def persistence(request: Request, facts: Facts, limits: Limits) -> str:
    """The policy has wanted it long enough."""
    held = facts.persistence
    if held is None or type(held.windows) is not int or not held.windows >= limits.persist_windows:
        return f"wanted for {held.windows if held else 0} windows, {limits.persist_windows} are needed"
    seconds = number(held.seconds)
    if seconds is None or not seconds >= limits.persist_s:
        return f"wanted for {held.seconds} s, {limits.persist_s} s are needed"
    return OK


def whitelist(request: Request, facts: Facts, limits: Limits) -> str:
    """This loop may write this tag, in these steps, and this very decision asks for it."""
    if (request.loop, request.tag) != (limits.loop, limits.tag) or limits.writable is not True:
        return f"{request.loop} may not write {request.tag}"
    value = number(request.value)
    if limits.step is not None and value is not None and value != limits.neutral and not multiple(value, limits.step):
        return f"{value} is not a multiple of {limits.step}"
    if type(request.value) is tuple and request.kind != "call":
        return f"{request.value!r} is for a call, not for a {request.kind}"
    if request.purpose == "return":
        return OK if request.kind == "trim" and value is not None else f"a {request.kind} of {request.value!r} has no way back"
    wish = facts.wish
    if wish is None or wish.wishes is None or wish.loop != request.loop:
        return "there is no decision of this loop"
    if type(wish.window) is not int or not wish.window == wish.diagnosed == wish.decided:
        return "window, diagnosis and decision do not belong together"
    if not any(asks(asked, request, facts) for asked in wish.wishes):
        return f"the decision does not ask for {request.kind} {request.tag} {request.target!r}"
    return OK


def limits(request: Request, facts: Facts, limits: Limits) -> str:
    """The value and where it leads lie inside the configuration's limits and the device's own."""
    described = facts.contract.now if facts.contract else None
    if described is None:
        return "the device's own limits were not read"
    every = parts(request.value) + parts(request.target)
    if not every and limits.values is None:
        return "a call without arguments needs `values: []`"
    for value in every:
        if not allowed(value, limits):
            return f"{value!r} is not within the configured {fence(limits)}"
        if number(value) is not None and not inside(value, described.low, described.high):
            return f"{value!r} is not within the device's {described.low}..{described.high}"
    return OK


def authority(request: Request, facts: Facts, limits: Limits) -> str:
    """The budgets allow this change; a return only ever shrinks the trim."""
    if facts.spent is None:
        return "what was spent of the budgets is not known"
    value = number(request.value)
    if value is None:
        return OK  # switches, texts and calls have no amount; the rate guard counts them
    current = number(facts.operator.current if facts.operator else None)
    if current is None:
        return "the tag's present value is not known"
    if request.purpose == "return":
        neutral = number(limits.neutral)
        back = neutral is not None and between(value, current, neutral)
        return OK if back else f"{value} does not lie between {current} and neutral {limits.neutral}"
    return within_budgets(value, current, facts.spent, limits)


def rate(request: Request, facts: Facts, limits: Limits) -> str:
    """Not too much at once, not too fast, not too often, not to and fro."""
    spent = facts.spent
    if spent is None:
        return "when it was written last is not known"
    since = spent.since_last_s
    if type(since) is not float or not at_most(limits.min_interval_s, since):
        return f"last write {since} s ago, {limits.min_interval_s} s are needed"
    value, change = number(request.value), 0.0
    if value is not None:
        current = number(facts.operator.current if facts.operator else None)
        if current is None:
            return "the tag's present value is not known"
        change = value - current
        if why := too_fast(change, since, limits):
            return why
    if request.purpose == "return":
        return OK
    if type(spent.writes_hour) is not int or not spent.writes_hour < limits.per_hour:
        return f"{spent.writes_hour} writes in the last hour, fewer than {limits.per_hour} are needed"
    return steady(change, spent, limits)


def interlocks(request: Request, facts: Facts, limits: Limits) -> str:
    """Every interlock is true. On the way back one that cannot be told is no hindrance, one that is false is."""
    told = facts.interlocks
    if told is None or tuple(name for name, _ in told) != limits.interlocks:
        return "the interlocks were not evaluated"
    for name, truth in told:
        if truth is not True and not (truth is None and request.purpose == "return"):
            return f"{name} is {'not known' if truth is None else 'not true'}"
    return OK


def operator(request: Request, facts: Facts, limits: Limits) -> str:
    """Nobody but us has touched the tag or its base, and nobody said stop. A moved base is what a return answers to."""
    seen = facts.operator
    if seen is None or seen.stopped is not False:
        return "stopped by a person"
    if seen.other_writer is not False:
        return "another writer is on this tag"
    if request.kind != "call" and not same(seen.current, seen.expected, limits.tolerance):
        return f"reads {seen.current!r}, we left it at {seen.expected!r}: an operator took it"
    if request.purpose != "return" and limits.has_base and not same(seen.base, seen.base_armed, BASE_NOISE):
        return f"the base setpoint was {seen.base_armed!r} at arming, is {seen.base!r}"
    return OK


def mode(request: Request, facts: Facts, limits: Limits) -> str:
    """The loop is armed, the arming has not run out, and tier 2 has a person's yes to this very value."""
    seen = facts.mode
    if seen is None:
        return "the mode is not known"
    if type(request.now_ns) is not int:
        return "the time is not known"
    if limits.tier not in (1, 2):
        return f"tier {limits.tier} writes nothing"
    if request.purpose == "return":
        return OK if seen.mode in ("armed", "hold", "shed") else f"the loop is in {seen.mode}"
    if seen.mode != "armed":
        return f"the loop is in {seen.mode}"
    if type(seen.until_ns) is not int or not request.now_ns < seen.until_ns:
        return "the arming has run out"
    if limits.tier == 2 and not approved(request, seen):
        return f"a person has to approve {request.tag} = {request.value!r}"
    return OK


def rival(request: Request, facts: Facts, limits: Limits) -> str:
    """No newer agent has taken over."""
    seen = facts.rival
    if seen is None or type(seen.epoch) is not int or type(seen.newest) is not int:
        return "who may write is not known"
    return OK if seen.epoch >= seen.newest else f"epoch {seen.newest} is newer than ours, {seen.epoch}"


def own(request: Request, facts: Facts, limits: Limits) -> str:
    """The agent itself is well, and the intent is on disk. Without a ledger there is no way back either."""
    seen = facts.own
    if seen is None or seen.ledger_healthy is not True:
        return "the ledger cannot be written"
    if request.phase != "propose" and type(seen.intent) is not int:
        return "the intent is not on disk"
    if request.purpose == "return":
        return OK
    if seen.clock_stepped is not False:
        return "the clock was set"
    jitter, free = number(seen.jitter_s), number(seen.disk_free)
    if jitter is None or not jitter <= limits.max_jitter_s:
        return f"the loop runs {seen.jitter_s} s late, at most {limits.max_jitter_s} s are allowed"
    if free is None or not free >= limits.min_disk:
        return f"{seen.disk_free} bytes of disk are free, {limits.min_disk} are needed"
    return OK


CHAIN: tuple[tuple[str, Guard], ...] = (
    ("contract", contract),
    ("model", model),
    ("inputs", inputs),
    ("output", output),
    ("persistence", persistence),
    ("whitelist", whitelist),
    ("limits", limits),
    ("authority", authority),
    ("rate", rate),
    ("interlocks", interlocks),
    ("operator", operator),
    ("mode", mode),
    ("rival", rival),
    ("self", own),
)
