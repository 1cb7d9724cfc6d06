"""One row a fact: from which permitted case, what is changed, and which guards say no then ("" for none).

Written as data so that the knock-out tests and the mutation test read the same rows.
"""

from __future__ import annotations

from typing import Any

from gate_baseline import NOW, described

from edge_agent.execute.gate.facts import Approval, Described

NAN, INF = float("nan"), float("inf")

Row = tuple[str, dict[str, Any], str]

_BOTH = {"facts.contract.now": None, "facts.contract.armed": None}


def _type(name: str | None, value: Any = -30.0) -> dict[str, Any]:
    return {"facts.contract.now.type": name, "facts.contract.armed.type": name, "request.value": value}


def _amount(value: Any, **more: Any) -> dict[str, Any]:
    return {"request.value": value, **more}


def _budget(current: float, value: float, target: float = -200.0) -> dict[str, Any]:
    return {
        "facts.operator.current": current, "facts.operator.expected": current, "request.value": value, "request.target": target,
        "facts.wish.wishes": frozenset({("trim", "speed", target)}), "facts.spent.lowest": current, "facts.spent.highest": current,
    }  # fmt: skip


CONTRACT: list[Row] = [
    ("act", {"facts.contract.armed": None}, "contract"),
    ("act", {"facts.contract.now.writable": False, "facts.contract.armed.writable": False}, "contract"),
    ("act", {"facts.contract.now.writable": None, "facts.contract.armed.writable": None}, "contract"),
    ("act", {"facts.contract.armed.writable": 1}, "contract"),
    ("act", {"facts.contract.now.type": "Float"}, "contract"),
    ("act", {"facts.contract.now.unit": "%", "limits.unit": None}, "contract"),
    ("act", {"facts.contract.now.unit": "%", "facts.contract.armed.unit": "%"}, "contract"),
    ("act", {"facts.contract.now.unit": None, "facts.contract.armed.unit": None}, ""),
    ("act", {"limits.unit": None}, ""),
    ("act", {"facts.contract.now.low": -399.0}, "contract"),
    ("act", {"facts.contract.now.high": None}, "contract"),
    ("act", {"facts.contract.now": described(low=-299.0), "facts.contract.armed": described(low=-299.0)}, "contract"),
    ("act", {"facts.contract.now": described(high=299.0), "facts.contract.armed": described(high=299.0)}, "contract"),
    ("act", {"facts.contract.now": described(low=-300.0, high=300.0), "facts.contract.armed": described(low=-300.0, high=300.0)}, ""),
    ("act", {"facts.contract.now": described(low=None, high=None), "facts.contract.armed": described(low=None, high=None)}, ""),
    ("act", {"facts.contract.config_hash": "c2"}, "contract"),
    ("act", {"facts.contract.config_hash": "", "facts.contract.armed_hash": ""}, "contract"),
    ("act", {"facts.contract.config_hash": None, "facts.contract.armed_hash": None}, "contract"),
    ("act", _type("Int16"), ""),
    ("act", _type("Byte"), "contract"),
    ("act", _type("Boolean"), "contract"),
    ("act", _type("String"), "contract"),
    ("act", _type("Enumeration"), "contract"),
    ("act", _type(None), "contract"),
    ("act", _type("json"), ""),
    ("act", _type("Float"), ""),
    ("act", {**_type("Int16", -25.5), "limits.step": None}, "contract"),
    ("switch", {"facts.contract.now.type": "Int16", "facts.contract.armed.type": "Int16"}, "contract"),
    ("return", {"facts.contract.now.low": -399.0, "facts.contract.config_hash": "c2"}, ""),
    ("return", {"facts.contract.now.type": "Float"}, "contract"),
    ("return", {"facts.contract.now.writable": False}, "contract"),
    ("return", {"facts.contract.now.unit": "%"}, "contract"),
    ("return", {"facts.contract.armed": None}, "contract"),
    ("act", _BOTH, "contract limits"),
    ("act", {"facts.contract.now": None}, "contract limits"),
    ("act", {"facts.contract": None}, "contract limits"),
]

MODEL: list[Row] = [
    ("act", {"facts.model": None}, "model"),
    ("act", {"facts.model.verified": False}, "model"),
    ("act", {"facts.model.verified": None}, "model"),
    ("act", {"facts.model.verified": 1}, "model"),
    ("act", {"facts.model.hash": "m2"}, "model"),
    ("act", {"facts.model.hash": None, "facts.model.admitted_hash": None}, "model"),
    ("act", {"facts.model.hash": "", "facts.model.admitted_hash": ""}, "model"),
    ("act", {"facts.model.loops": None}, "model"),
    ("act", {"facts.model.loops": frozenset()}, "model"),
    ("act", {"facts.model.loops": frozenset({"p2"})}, "model"),
    ("act", {"facts.model.loops": frozenset({"*"})}, ""),
    ("act", {"facts.model.tier": 0}, "model"),
    ("act", {"facts.model.tier": 2}, ""),
    ("act", {"facts.model.tier": None}, "model"),
    ("act", {"facts.model.tier": True}, "model"),
    ("act", {"facts.model.version": None}, "model"),
    ("act", {"facts.model.floor": None}, "model"),
    ("act", {"facts.model.version": (1, 1, 9)}, "model"),
    ("act", {"facts.model.version": (1, 10, 0)}, ""),
    ("act", {"facts.model.floor": ()}, ""),
]

INPUTS: list[Row] = [
    ("act", {"facts.inputs": None}, "inputs"),
    ("act", {"facts.inputs.fit": False}, "inputs"),
    ("act", {"facts.inputs.fit": None}, "inputs"),
    ("act", {"facts.inputs.newest": (1.0, NAN)}, "inputs"),
    ("act", {"facts.inputs.newest": (INF, 1.0)}, "inputs"),
    ("act", {"facts.inputs.newest": ()}, "inputs"),
    ("act", {"facts.inputs.newest": None}, "inputs"),
    ("act", {"facts.inputs.age_s": 0.51}, "inputs"),
    ("act", {"facts.inputs.age_s": 0.0}, ""),
    ("act", {"facts.inputs.age_s": 1}, "inputs"),
    ("act", {"facts.inputs.age_s": -0.01}, "inputs"),
    ("act", {"facts.inputs.age_s": NAN}, "inputs"),
    ("act", {"facts.inputs.age_s": None}, "inputs"),
    ("act", {"facts.inputs.end_ns": 1_000}, "inputs"),
    ("act", {"facts.inputs.end_ns": 999}, "inputs"),
    ("act", {"facts.inputs.end_ns": 1_001}, ""),
    ("act", {"facts.inputs.end_ns": None}, "inputs"),
    ("act", {"facts.inputs.previous_end_ns": None}, "inputs"),
    ("act", {"facts.inputs.good_windows": 2}, "inputs"),
    ("act", {"facts.inputs.good_windows": 4}, ""),
    ("act", {"facts.inputs.good_windows": None}, "inputs"),
]

OUTPUT: list[Row] = [
    ("act", {"facts.output": None}, "output"),
    *[("act", {"facts.output.status": status}, "output") for status in ("unknown", "novel", "late", "failed", None)],
    *[("act", {"facts.output.score": score}, "output") for score in (None, NAN, INF, -INF, True, "0.5", 0.91, -0.01, 10**400)],
    ("act", {"facts.output.score": 0.0}, ""),
    ("act", {"facts.output.score": 0.91, "limits.score_high": None}, ""),
    ("act", {"facts.output.score": -0.01, "limits.score_low": None}, ""),
    ("act", {"facts.output.confidence": 0.79}, "output"),
    ("act", {"facts.output.confidence": 1.0}, ""),
    ("act", {"facts.output.confidence": 1.01}, "output"),
    ("act", {"facts.output.confidence": None}, "output"),
    ("act", {"facts.output.confidence": None, "limits.min_confidence": None}, ""),
    ("act", {"facts.output.novelty": 0.21}, "output"),
    ("act", {"facts.output.novelty": 0.0}, ""),
    ("act", {"facts.output.novelty": -0.01}, "output"),
    ("act", {"facts.output.novelty": None}, "output"),
    ("act", {"facts.output.novelty": None, "limits.max_novelty": None}, ""),
]

PERSISTENCE: list[Row] = [
    ("act", {"facts.persistence": None}, "persistence"),
    ("act", {"facts.persistence.windows": 1}, "persistence"),
    ("act", {"facts.persistence.windows": 3}, ""),
    ("act", {"facts.persistence.windows": None}, "persistence"),
    ("act", {"facts.persistence.seconds": 4.9}, "persistence"),
    ("act", {"facts.persistence.seconds": 5.1}, ""),
    ("act", {"facts.persistence.seconds": None}, "persistence"),
    ("act", {"facts.persistence.seconds": NAN}, "persistence"),
]

WHITELIST: list[Row] = [
    ("act", {"limits.tag": "valve"}, "whitelist"),
    ("act", {"limits.loop": "p2"}, "whitelist"),
    ("act", {"limits.writable": False}, "whitelist"),
    ("act", {"limits.step": 7.0}, "whitelist"),
    ("act", {"limits.step": 7.0, "limits.neutral": -30.0}, ""),
    ("act", {"limits.step": 30.000001}, ""),
    ("act", {"limits.step": 29.9999}, "whitelist"),
    ("act", {"limits.step": None, "request.value": -25.3}, ""),
    ("act", {"facts.wish": None}, "whitelist"),
    ("act", {"facts.wish.wishes": None}, "whitelist"),
    ("act", {"facts.wish.wishes": frozenset()}, "whitelist"),
    ("act", {"facts.wish.loop": "p2"}, "whitelist"),
    ("act", {"facts.wish.window": 8}, "whitelist"),
    ("act", {"facts.wish.diagnosed": 6}, "whitelist"),
    ("act", {"facts.wish.decided": 8}, "whitelist"),
    ("act", {"facts.wish.window": None, "facts.wish.diagnosed": None, "facts.wish.decided": None}, "whitelist"),
    ("act", {"facts.wish.wishes": frozenset({("set", "speed", -200.0)})}, "whitelist"),
    ("act", {"facts.wish.wishes": frozenset({("trim", "valve", -200.0)})}, "whitelist"),
    ("act", {"facts.wish.wishes": frozenset({("trim", "speed", -190.0)})}, "whitelist"),
    ("act", {"facts.wish.wishes": frozenset({("trim", "speed", -200)})}, "whitelist"),
    ("act", {"facts.wish.wishes": frozenset({("trim", "valve", 1.0), ("trim", "speed", -200.0)})}, ""),
    ("act", _amount(-20.0), ""),
    ("act", {"request.target": -30.0, "facts.wish.wishes": frozenset({("trim", "speed", -30.0)})}, ""),
    ("act", {"request.target": -20.0, "facts.wish.wishes": frozenset({("trim", "speed", -20.0)})}, "whitelist"),
    ("act", _amount(-10.0), "whitelist"),
    ("switch", {"request.value": False}, "whitelist"),
    ("switch", {"facts.wish.wishes": frozenset({("set", "speed", 1)})}, "whitelist"),
    ("call", {"request.value": (1, "a", 1)}, "whitelist"),
    ("call", {"request.value": (1,)}, "whitelist"),
    ("call", {"request.value": ("a", 1)}, "whitelist"),
    ("return", {"request.kind": "set"}, "whitelist"),
    ("return", {"request.value": (-10.0,)}, "whitelist"),
    ("return", {**_type("Boolean", True), "limits.values": (0.0, True)}, "whitelist"),
    (
        "act",
        {"request.value": (-200.0,), "request.target": (-200.0,), "facts.wish.wishes": frozenset({("trim", "speed", (-200.0,))})},
        "whitelist",
    ),
    ("return", {"limits.writable": False}, "whitelist"),
    ("return", {"limits.step": 7.0}, "whitelist"),
]

LIMITS: list[Row] = [
    ("act", {"limits.low": -199.0}, "limits"),
    ("act", {"limits.low": -200.0}, ""),
    ("act", {"limits.high": -31.0}, "limits"),
    ("act", {"limits.high": -30.0}, ""),
    ("act", {"limits.low": None}, "limits"),
    ("act", {"limits.high": None}, "limits"),
    ("act", {"limits.low": NAN}, "contract limits"),
    ("act", {"limits.values": (-30.0, -200.0)}, ""),
    ("act", {"limits.values": (-30.0,)}, "limits"),
    ("act", {"limits.values": ()}, "limits"),
    ("act", {"limits.values": (-30.5, -200.0)}, "limits"),
    ("return", {"facts.contract.now.low": -9.0}, "limits"),
    ("return", {"facts.contract.now.low": -10.0, "facts.contract.now.high": 0.0}, ""),
    ("return", {"facts.contract.now.high": -1.0}, "limits"),
    ("return", {"facts.contract.now.low": None, "facts.contract.now.high": None}, ""),
    ("return", {"limits.low": -9.0}, "limits"),
    ("switch", {"limits.values": (False,)}, "limits"),
    ("switch", {"limits.values": (1, "True")}, "limits"),
    ("switch", {"limits.values": None}, "limits"),
    ("call", {"limits.values": (1,)}, "limits"),
    ("call", {"limits.values": (1, "b")}, "limits"),
    ("call", {"request.value": (), "request.target": (), "facts.wish.wishes": frozenset({("call", "speed", ())})}, ""),
    (
        "call",
        {"request.value": (), "request.target": (), "facts.wish.wishes": frozenset({("call", "speed", ())}), "limits.values": None},
        "limits",
    ),
]

AUTHORITY: list[Row] = [
    ("act", {"facts.spent.change": 90.1}, "authority"),
    ("act", {"facts.spent.change": None}, "authority"),
    ("act", {"facts.spent.change": NAN}, "authority"),
    ("act", {"facts.spent.change": None, "limits.change": None}, ""),
    ("act", {"facts.spent.change": 90.1, "limits.change": 100.1}, ""),
    ("act", {"facts.spent.highest": 0.1}, "authority"),
    ("act", {"facts.spent.lowest": -30.1}, "authority"),
    ("act", {"facts.spent.lowest": None}, "authority"),
    ("act", {"facts.spent.highest": None}, "authority"),
    ("act", {"facts.spent.highest": None, "limits.drift": None}, ""),
    ("act", {"facts.spent.highest": 0.1, "limits.drift": 30.1}, ""),
    ("act", _budget(30.0, 20.0), ""),
    ("act", {**_budget(-20.0, -10.0, 50.0), "facts.spent.lowest": -40.0, "facts.spent.direction": 1}, ""),
    ("act", {**_budget(-20.0, -10.0, 50.0), "facts.spent.lowest": -40.1, "facts.spent.direction": 1}, "authority"),
    ("return", {"request.value": 10.0}, "authority rate"),
    ("return", {"request.value": -30.0}, "authority"),
    ("return", {"request.value": -20.0}, ""),
    ("return", {"limits.neutral": -10.0}, ""),
    ("return", {"limits.neutral": -20.0}, "authority"),
    ("return", {"limits.neutral": 10**400}, "authority"),
    ("return", {"facts.spent.change": 1e9, "facts.spent.highest": 1e9, "facts.spent.lowest": None}, ""),
    ("act", {"facts.spent": None}, "authority rate"),
    ("switch", {"facts.spent.change": 1e9, "facts.spent.lowest": None}, ""),
]

RATE: list[Row] = [
    ("act", {"facts.spent.since_last_s": None}, "rate"),
    ("act", {"facts.spent.since_last_s": 12}, "rate"),
    ("act", {"facts.spent.since_last_s": NAN}, "rate"),
    ("act", {"facts.spent.since_last_s": INF}, ""),
    ("act", {"facts.spent.since_last_s": 10.0}, ""),
    ("act", {"facts.spent.since_last_s": 9.99}, "rate"),
    ("act", {"facts.spent.since_last_s": 0.99, "limits.rate_down": 100.0}, "rate"),
    ("act", {"facts.spent.since_last_s": 1.0, "limits.rate_down": 100.0}, ""),
    ("act", {"limits.rate_down": None}, ""),
    ("act", {"limits.rate_down": None, "limits.max_step": None}, "rate"),
    ("act", {"limits.max_step": None}, ""),
    ("act", {"limits.max_step": 9.9}, "rate"),
    ("act", {"limits.max_step": 10.1}, ""),
    ("act", {"limits.rate_down": 0.8}, "rate"),
    ("act", {"limits.rate_up": 0.1}, ""),
    ("act", {"limits.rate_down": 0.0, "request.value": -20.0}, ""),
    ("act", {"limits.rate_down": None, "limits.max_step": None, "request.value": -20.0}, "rate"),
    ("return", {"limits.rate_up": 0.8}, "rate"),
    ("return", {"limits.rate_down": 0.1}, ""),
    ("return", {"facts.spent.since_last_s": 0.99, "limits.rate_up": 100.0}, "rate"),
    ("return", {"facts.spent.writes_hour": 99, "facts.spent.reversals_hour": 99}, ""),
    ("act", {"facts.spent.writes_hour": 10}, "rate"),
    ("act", {"facts.spent.writes_hour": 8}, ""),
    ("act", {"facts.spent.writes_hour": None}, "rate"),
    ("act", {"facts.spent.direction": 1}, ""),
    ("act", {"facts.spent.direction": 1, "facts.spent.reversals_hour": 2}, "rate"),
    ("act", {"facts.spent.direction": 0, "facts.spent.reversals_hour": 2}, ""),
    ("act", {"facts.spent.direction": -1, "facts.spent.reversals_hour": 2}, ""),
    ("act", {"facts.spent.direction": None}, "rate"),
    ("act", {"facts.spent.direction": True}, "rate"),
    ("act", {"facts.spent.direction": 2}, "rate"),
    ("act", {"facts.spent.direction": -2}, "rate"),
    ("act", {"facts.spent.reversals_hour": None}, "rate"),
    ("switch", {"facts.spent.writes_hour": 10}, "rate"),
    ("switch", {"facts.spent.since_last_s": 0.5}, "rate"),
    ("switch", {"facts.spent.direction": 1, "facts.spent.reversals_hour": 9}, ""),
    ("switch", {"facts.spent.direction": -1, "facts.spent.reversals_hour": 9}, ""),
    ("act", {**_budget(-20.0, -20.5), "limits.step": None, "facts.spent.direction": 1, "facts.spent.reversals_hour": 2}, "rate"),
    ("act", {**_budget(-20.0, -19.5, 0.0), "limits.step": None, "limits.rate_up": 0.01, "facts.spent.reversals_hour": 0}, "rate"),
]

INTERLOCKS: list[Row] = [
    ("act", {"facts.interlocks": None}, "interlocks"),
    ("act", {"facts.interlocks": ()}, "interlocks"),
    ("act", {"facts.interlocks": (("running", True),)}, "interlocks"),
    ("act", {"facts.interlocks": (("running", True), ("remote", False))}, "interlocks"),
    ("act", {"facts.interlocks": (("running", None), ("remote", True))}, "interlocks"),
    ("act", {"facts.interlocks": (("running", 1), ("remote", True))}, "interlocks"),
    ("act", {"facts.interlocks": (("walking", True), ("remote", True))}, "interlocks"),
    ("act", {"facts.interlocks": (), "limits.interlocks": ()}, ""),
    ("return", {"facts.interlocks": (("running", None), ("remote", None))}, ""),
    ("return", {"facts.interlocks": (("running", True), ("remote", False))}, "interlocks"),
    ("return", {"facts.interlocks": None}, "interlocks"),
]

OPERATOR: list[Row] = [
    ("act", {"facts.operator.stopped": True}, "operator"),
    ("act", {"facts.operator.stopped": None}, "operator"),
    ("act", {"facts.operator.other_writer": True}, "operator"),
    ("act", {"facts.operator.other_writer": None}, "operator"),
    ("act", {"facts.operator.expected": None}, "operator"),
    ("act", {"facts.operator.expected": -14.9}, "operator"),
    ("act", {"facts.operator.expected": -15.0}, ""),
    ("act", {"facts.operator.expected": "-20.0"}, "operator"),
    ("act", {"facts.operator.base": 2900.1}, "operator"),
    ("act", {"facts.operator.base": None}, "operator"),
    ("act", {"facts.operator.base_armed": None}, "operator"),
    ("act", {"facts.operator.base": None, "limits.has_base": False}, ""),
    ("act", {"facts.operator.base": 2900.0 + 5e-7}, ""),
    ("act", {"facts.operator.base": 2900.00001}, "operator"),
    ("switch", {"facts.operator.expected": True}, "operator"),
    ("switch", {"facts.operator.current": 0}, "operator"),
    ("return", {"facts.operator.base": 2800.0}, ""),
    ("return", {"facts.operator.expected": 0.0}, "operator"),
    ("return", {"facts.operator.stopped": True}, "operator"),
    ("return", {"facts.operator.other_writer": True}, "operator"),
    ("act", {"facts.operator.current": None}, "whitelist authority rate operator"),
    ("act", {"facts.operator": None}, "whitelist authority rate operator"),
    ("call", {"facts.operator.stopped": True}, "operator"),
]

MODE: list[Row] = [
    ("act", {"facts.mode": None}, "mode"),
    *[("act", {"facts.mode.mode": mode}, "mode") for mode in ("off", "observe", "advise", "hold", "shed", "lockout", None, "ARMED")],
    ("act", {"facts.mode.until_ns": NOW}, "mode"),
    ("act", {"facts.mode.until_ns": None}, "mode"),
    ("act", {"limits.tier": 0}, "mode"),
    ("act", {"limits.tier": 3, "facts.model.tier": 3}, "mode"),
    ("act", {"limits.tier": 2, "facts.model.tier": 2}, "mode"),
    ("tier2", {"facts.mode.approval": Approval(tag="speed", value=-30.0, expires_ns=NOW)}, "mode"),
    ("tier2", {"facts.mode.approval": Approval(tag="speed", value=-40.0, expires_ns=NOW + 1)}, "mode"),
    ("tier2", {"facts.mode.approval": Approval(tag="speed", value=-30, expires_ns=NOW + 1)}, "mode"),
    ("tier2", {"facts.mode.approval": Approval(tag="valve", value=-30.0, expires_ns=NOW + 1)}, "mode"),
    ("tier2", {"facts.mode.approval": Approval(tag="speed", value=-30.0, expires_ns=INF)}, "mode"),  # type: ignore[arg-type]
    ("act", {"request.now_ns": -INF}, "mode"),
    ("return", {"request.now_ns": None}, "mode"),
    *[("return", {"facts.mode.mode": mode}, "") for mode in ("armed", "shed")],
    *[("return", {"facts.mode.mode": mode}, "mode") for mode in ("off", "observe", "advise", "lockout", None)],
    ("return", {"facts.mode.until_ns": None}, ""),
    ("return", {"limits.tier": 0}, "mode"),
    ("return", {"facts.mode": None}, "mode"),
    ("return", {"limits.tier": 2}, ""),
]

RIVAL: list[Row] = [
    ("act", {"facts.rival": None}, "rival"),
    ("act", {"facts.rival.newest": 5}, "rival"),
    ("act", {"facts.rival.newest": 3}, ""),
    ("act", {"facts.rival.epoch": None}, "rival"),
    ("act", {"facts.rival.newest": None}, "rival"),
    ("return", {"facts.rival.newest": 5}, "rival"),
]

SELF: list[Row] = [
    ("act", {"facts.own": None}, "self"),
    ("act", {"facts.own.ledger_healthy": False}, "self"),
    ("act", {"facts.own.ledger_healthy": None}, "self"),
    ("act", {"facts.own.intent": None}, "self"),
    ("act", {"facts.own.intent": True}, "self"),
    ("act", {"facts.own.intent": None, "request.phase": "propose"}, ""),
    ("act", {"facts.own.clock_stepped": True}, "self"),
    ("act", {"facts.own.clock_stepped": None}, "self"),
    ("act", {"facts.own.jitter_s": 0.51}, "self"),
    ("act", {"facts.own.jitter_s": 0.0}, ""),
    ("act", {"facts.own.jitter_s": None}, "self"),
    ("act", {"facts.own.jitter_s": NAN}, "self"),
    ("act", {"facts.own.disk_free": 199e6}, "self"),
    ("act", {"facts.own.disk_free": 201e6}, ""),
    ("act", {"facts.own.disk_free": None}, "self"),
    ("return", {"facts.own.clock_stepped": True, "facts.own.jitter_s": None, "facts.own.disk_free": None}, ""),
    ("return", {"facts.own.ledger_healthy": False}, "self"),
    ("return", {"facts.own.intent": None}, "self"),
]

VALUES: list[Row] = [
    *[("act", _amount(value), "contract whitelist limits") for value in (NAN, INF, -INF, True, "-30", 10**400)],
    ("act", _amount(-1e300), "whitelist limits authority rate"),
    ("act", _amount(-0.0), "whitelist authority rate"),
]

BROKEN: list[Row] = [  # data of the wrong kind: the guard that trips over it says no, and the loop is locked out
    ("act", {"facts.model.loops": ["p1"]}, "model"),
    ("act", {"facts.model.version": ("1", 2)}, "model"),
    ("act", {"limits.step": 0.0}, "whitelist"),
    ("act", {"facts.interlocks": (True,)}, "interlocks"),
    ("act", {"facts.contract.now": Described(type="Double", writable=True, unit="rpm", low="0")}, "contract limits"),
]  # fmt: skip

GUARDS = {
    "contract": CONTRACT, "model": MODEL, "inputs": INPUTS, "output": OUTPUT, "persistence": PERSISTENCE, "whitelist": WHITELIST,
    "limits": LIMITS, "authority": AUTHORITY, "rate": RATE, "interlocks": INTERLOCKS, "operator": OPERATOR, "mode": MODE, "rival": RIVAL,
    "self": SELF,
}  # fmt: skip

ROWS: list[Row] = [row for rows in GUARDS.values() for row in rows] + VALUES + BROKEN
