"""What does the agent say of itself? One JSON-able page: every link, loop, bound and counter."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock
from edge_agent.config.load import Configuration
from edge_agent.health import Health
from edge_agent.inbox import Inbox
from edge_agent.loop import Turn
from edge_agent.loops import Runner
from edge_agent.messages import Quality
from edge_agent.perceive.link import Perceiver, View
from edge_agent.vitals import Vitals


def page(
    *,
    configuration: Configuration,
    clock: Clock,
    started_ns: int,
    health: Health,
    vitals: Vitals,
    inbox: Inbox,
    not_recorded: int,
    perceiver: Perceiver,
    connectors: Mapping[str, Any],
    runners: Mapping[str, Runner],
    loops: Mapping[str, Mapping[str, Any]],
    refused: Mapping[str, str],
    recording: Mapping[str, Any],
    ledger: Mapping[str, Any],
    worker: Mapping[str, Any],
    parts: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything, as it stands now."""
    now_ns = clock.mono_ns()
    return {
        "agent": configuration.file.agent.name,
        "site": configuration.file.agent.site,
        "pid": os.getpid(),
        "config": str(configuration.path),
        "config_hash": configuration.hash,
        "up_s": (now_ns - started_ns) / 1e9,
        "health": "; ".join(health.stuck()),
        "machine": {
            "clock_stepped": vitals.clock_stepped,
            "clock_steps": vitals.steps,
            "jitter_s": vitals.jitter_s,
            "disk_free": vitals.disk_free,
        },
        "inbox": {"waiting": inbox.waiting, "bound": inbox.bound, "dropped": inbox.dropped, "not_recorded": not_recorded},
        "perceive": {"unknown": perceiver.intake.unknown, "clock_shifts": perceiver.intake.clock_shifts},
        "connectors": {name: _connector(c, perceiver.intake.links.get(name, False)) for name, c in connectors.items()},
        "tags": {name: _tag(perceiver, name, now_ns) for name in perceiver.intake.tags},
        "loops": {name: _loop(runner, perceiver.views.get(name), loops[name], clock) for name, runner in runners.items()},
        "refused": dict(refused),
        "recording": dict(recording),
        "ledger": dict(ledger),
        "worker": dict(worker),
        "parts": dict(parts),
    }


def _connector(connector: Any, up: bool) -> dict[str, Any]:
    return {"up": up, **connector.status()}


def _tag(perceiver: Perceiver, name: str, now_ns: int) -> dict[str, Any]:
    reading, counts = perceiver.reading(name, now_ns), perceiver.intake.tags[name].counts
    value = reading.value if isinstance(reading.value, float | int | bool | str) else None
    return {
        "value": value if not isinstance(value, float) or value - value == 0 else None,
        "quality": int(reading.quality),
        "why": quality_words(reading.quality),
        "age_s": reading.age_s if reading.age_s != float("inf") else None,
        "samples": counts.samples,
        "unfit": counts.unfit,
        "duplicates": counts.duplicates,
        "out_of_order": counts.out_of_order,
    }


def troubles(connector: Mapping[str, Any]) -> dict[str, str]:
    """What a connector's status says is wrong with its tags."""
    said = {tag: str(t.get("state", "ok") if isinstance(t, Mapping) else t) for tag, t in connector.get("tags", {}).items()}
    return {tag: text for tag, text in said.items() if text and text != "ok"}


def quality_words(quality: int) -> str:
    """Quality flags for people: "bad, stale"; "good" for none."""
    return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Quality(quality)) or "good"


def _loop(runner: Runner, view: View | None, status: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    counts, execute = runner.counts, status["execute"]
    left_s = execute.get("armed_for_s")
    return {
        "mode": execute["mode"],
        "why": execute["reason"],
        "armed": execute["mode"] == "armed",
        "until": None if left_s is None else _local(clock.wall_ns() + int(left_s * 1e9)),
        "turns": counts.turns,
        "turn_s": counts.turn_s,
        "errors": counts.errors,
        "last_error": counts.last_error,
        "writes": counts.writes,
        "refusals": counts.refusals,
        "waiting": len(runner.loop.perceive),
        "bound": runner.loop.perceive.bound,
        "dropped": runner.loop.perceive.dropped,
        "unfit": view.unfit if view else 0,
        "window": {**dict(zip(("filled", "rows"), view.cutter.filled, strict=True)), **view.cutter.counts} if view else {},
        **status,
        **_turn(counts.last),
    }


def _turn(turn: Turn | None) -> dict[str, Any]:
    if turn is None:
        return {"state": None, "diagnosis": None, "wants": []}
    diagnosis, decision = turn.diagnosis, turn.decision
    return {
        "state": decision.state,
        "because": decision.reason,
        "wants": [{"kind": p.kind, "tag": p.tag, "value": p.value, "reason": p.reason} for p in decision.proposals],
        "diagnosis": {
            "status": diagnosis.status,
            "why": diagnosis.why,
            "score": diagnosis.score,
            "lower": diagnosis.lower,
            "upper": diagnosis.upper,
            "label": diagnosis.label,
            "confidence": diagnosis.confidence,
            "novelty": diagnosis.novelty,
            "votes": [ballot._asdict() for ballot in diagnosis.votes],
            "drifting": list(diagnosis.drifting),
            "contributions": dict(diagnosis.contributions[:5]),
            "window": diagnosis.window,
            "end_ns": diagnosis.end_ns,
        },
    }


def _local(wall_ns: int) -> str:
    return datetime.datetime.fromtimestamp(wall_ns / 1e9, tz=datetime.UTC).astimezone().isoformat(timespec="seconds")
