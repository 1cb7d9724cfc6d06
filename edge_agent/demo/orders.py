"""What may the demo's driver ask of the plant, and what is it told? One JSON object in, one out.

    {"fault": "suction_valve", "severity": 0.7, "ramp_s": 4}      {"fault": "stuck", "signal": "flow", "severity": 1}
    {"clear": true, "ramp_s": 2}    {"clear": "leak"}             {"clear": "stuck", "signal": "flow"}
    {"set": {"remote": false, "running": true, "base": 2850, "trim": 0}}    {"reset": true}    {"state": true}

Every reply holds the true state: {"ok": true, "condition": "cavitation", "margin_m": -0.51, ...}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from edge_agent.demo.plc import BASE_LIMITS
from edge_agent.demo.simulation import Simulation


def obey(simulation: Simulation, order: Any) -> dict[str, Any]:
    """Carry out an order and say how things stand; a wrong order changes nothing and says why."""
    try:
        verbs = [verb for verb in _VERBS if verb in order] if isinstance(order, Mapping) else []
        if len(verbs) != 1:
            raise ValueError(f"an order is an object with exactly one of {', '.join(_VERBS)}")  # noqa: TRY301 - the one place that answers
        _VERBS[verbs[0]](simulation, order)
    except (ValueError, TypeError) as e:
        return {"ok": False, "error": str(e)}
    return {"ok": True, **asdict(simulation.truth())}


def _fault(simulation: Simulation, order: Mapping[str, Any]) -> None:
    simulation.faults.inject(
        str(order["fault"]),
        severity=float(order.get("severity", 1.0)),
        ramp_s=float(order.get("ramp_s", 0.0)),
        signal=order.get("signal"),
    )


def _clear(simulation: Simulation, order: Mapping[str, Any]) -> None:
    ramp_s = float(order.get("ramp_s", 0.0))
    if order["clear"] is True:
        simulation.faults.clear(ramp_s)
    else:
        simulation.faults.inject(str(order["clear"]), severity=0.0, ramp_s=ramp_s, signal=order.get("signal"))


def _set(simulation: Simulation, order: Mapping[str, Any]) -> None:
    """What an operator does at the panel. Everything is looked at before anything is set."""
    wanted = dict(order["set"])
    base, trim = float(wanted.pop("base", simulation.plc.base)), wanted.pop("trim", None)
    switches = {name: bool(wanted.pop(name)) for name in ("remote", "running") if name in wanted}
    if wanted:
        raise ValueError(f"there is no {', '.join(map(repr, wanted))} at the panel; there are: base, trim, remote, running")
    if not BASE_LIMITS[0] <= base <= BASE_LIMITS[1]:
        raise ValueError(f"base {base:g} rpm is outside {BASE_LIMITS[0]:g}..{BASE_LIMITS[1]:g} rpm")
    if trim is not None and (verdict := simulation.plc.write_trim(float(trim))) != "good":
        raise ValueError(f"trim {trim} rpm: {verdict}")
    simulation.plc.base = base
    for name, on in switches.items():
        setattr(simulation.plc, name, on)


def _reset(simulation: Simulation, order: Mapping[str, Any]) -> None:
    simulation.plc.reset()


def _state(simulation: Simulation, order: Mapping[str, Any]) -> None:
    """Nothing to do: every reply holds the state."""


_VERBS: dict[str, Callable[[Simulation, Mapping[str, Any]], None]] = {
    "fault": _fault,
    "clear": _clear,
    "set": _set,
    "reset": _reset,
    "state": _state,
}
