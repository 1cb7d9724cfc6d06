"""How good is a bundle on a benchmark: on runs it has never seen, on those it was trained on, beside guesses that look at no data?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab import catalog, faults, general, metrics, timing
from edge_agent.lab.catalog import Scenario
from edge_agent.lab.data import DataRefused, Episode, Run
from edge_agent.lab.heard import Heard, listen

Basis = Literal["held-out", "in-sample", "recipe"]
Say = Callable[[str], None]
_TRIED_EPISODES, _TRIED_CHANNELS = 6, 6  # under each sensor fault: enough to see what it does, little enough to wait for


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The runs of a folder, by whether the bundle's card says that it was trained on them."""

    unseen: tuple[Run, ...] = field(default=())
    seen: tuple[Run, ...] = field(default=())
    listed: bool = True  # whether the card lists its runs at all


def sides(bundle: Bundle, runs: Sequence[Run]) -> Sides:
    """A run counts as seen if its name, its group or its values are on the card; without a list every run does."""
    known = bundle.card.provenance.runs
    if not known:
        return Sides(seen=tuple(runs), listed=False)
    names, hashes = set(known), set(known.values())
    groups = {run.together for run in runs if run.name in names or run.hash in hashes}
    seen = tuple(r for r in runs if r.together in groups)
    return Sides(seen=seen, unseen=tuple(r for r in runs if r.together not in groups))


def graphs(bundle: Bundle) -> dict[str, bytes]:
    """The bundle's graphs by what they are: int8, fp32."""
    found = {kind(bundle.model): bundle.model}
    return found if bundle.fp32 is None else {"fp32": bundle.fp32, **found}


def kind(graph: bytes) -> str:
    """int8 if it dequantizes anything."""
    return "int8" if b"DequantizeLinear" in graph or b"QLinear" in graph else "fp32"


def evaluate(bundle: Bundle, name: str, data: Path, *, say: Say, robustness: bool = True, runs: int = 500) -> dict[str, Any]:
    """The report card, JSON-able. Same bundle and folder, same figures (`figures_hash`); times and memory are this box's. DataRefused."""
    scenario = catalog.load(name)
    found = scenario.load(where(data, scenario))
    parted = sides(bundle, found)
    basis: Basis = "held-out" if parted.unseen else "in-sample"
    judged, beside = (parted.unseen, parted.seen) if parted.unseen else (parted.seen, ())
    heard = {kind: _listened(bundle, graph, scenario, judged, say, kind) for kind, graph in graphs(bundle).items()}
    report = card(scenario, bundle, heard, basis=basis, note=_note(parted, found))
    report["runs"] = {"unseen": [r.name for r in parted.unseen], "seen": [r.name for r in parted.seen], "listed": parted.listed}
    if bundle.card.smoothing.median > 1:
        report["single_window"] = scenario.judge(listen(bundle, bundle.model, scenario.episodes(judged), scenario.card, smooth=1))
    if beside:
        report["in_sample"] = scenario.judge(_listened(bundle, bundle.model, scenario, beside, say, "runs it was trained on"))
    if robustness:
        report["robustness"] = _robustness(bundle, scenario, judged, say)
    report["cost"] = cost(bundle, runs)
    return with_general(report, bundle, picture=found[0].values.ndim > 2)


def card(scenario: Scenario, bundle: Bundle, heard: Mapping[str, Sequence[Heard]], *, basis: Basis, note: str) -> dict[str, Any]:
    """The part of the report that depends on data only."""
    shipped = kind(bundle.model)
    per_graph = {name: _figures(scenario, said) for name, said in heard.items()}
    reached = per_graph[shipped]["figures"]
    body = {
        "scenario": _scenario(scenario.card),
        "model": bundle.id,
        "hash": bundle.hash,
        "shipped": shipped,
        "smoothing": bundle.card.smoothing.median,
        "basis": basis,
        "note": note,
        "graphs": per_graph,
        "blind": scenario.blind(heard[shipped]),
        "targets": [_target(t, reached, basis) for t in scenario.card.targets],
        "confidence": _confidence(scenario, heard[shipped]),
        "published": [{"who": f.who, "figures": dict(f.figures), "source": f.source, "note": f.note} for f in scenario.card.published],
    }
    body["figures_hash"] = hashlib.sha256(json.dumps(_rounded(body["graphs"]), sort_keys=True).encode()).hexdigest()[:16]
    return body


def with_general(report: dict[str, Any], bundle: Bundle, *, picture: bool) -> dict[str, Any]:
    """The report with the targets that any bundle has."""
    reached = general.figures(bundle, report)
    more = [_target(t, reached, report["basis"]) for t in general.targets(picture=picture)]
    return report | {"targets": [*report["targets"], *more]}


def where(data: Path, scenario: Scenario) -> Path:
    """The scenario's own folder, also when `data` is the folder above."""
    below = data / scenario.card.folder
    return below if below.is_dir() else data


def cost(bundle: Bundle, runs: int) -> dict[str, Any]:
    """Time, memory and energy of one window, here, on one core."""
    feeds = {name: array[:1] for name, array in bundle.golden_inputs.items()}
    made = graphs(bundle)
    callers = {name: timing.caller(graph, feeds) for name, graph in made.items()}
    times = timing.race(callers, runs)
    return {
        name: {
            **times[name],
            "bytes": len(made[name]),
            "memory_bytes": timing.memory(made[name], feeds),
            "joules": timing.energy(call, runs),
        }
        for name, call in callers.items()
    }


def _listened(bundle: Bundle, graph: bytes, scenario: Scenario, runs: Sequence[Run], say: Say, what: str) -> tuple[Heard, ...]:
    episodes = scenario.episodes(runs)
    if not episodes:
        raise DataRefused(f"{scenario.card.name}: none of the {len(runs)} runs has anything to judge; give runs with labels")
    say(f"{bundle.id} on {scenario.card.name}: {what}, {len(episodes)} episodes of {len(runs)} runs")
    return listen(bundle, graph, episodes, scenario.card)


def _figures(scenario: Scenario, heard: Sequence[Heard]) -> dict[str, Any]:
    spans = metrics.interval(heard, lambda h: h.episode.group, scenario.judge)
    return {"figures": scenario.judge(heard), "interval": {name: list(span) for name, span in spans.items()}}


def _target(target: catalog.Target, reached: Mapping[str, float], basis: Basis) -> dict[str, Any]:
    """Met, missed, or None: a figure on known runs proves nothing."""
    value = reached.get(target.metric)
    proves = basis != "in-sample" or target.metric in ("bundle_mb", "cpu_p99_us", "refused_other_scale", "refused_broken_sensor")
    met = target.met(value) if value is not None and proves else None
    return {"metric": target.metric, "at": target.at, "value": target.value, "reached": value, "met": met}


def _confidence(scenario: Scenario, heard: Sequence[Heard]) -> dict[str, Any] | None:
    """Whether 90 % sure is right nine times in ten; None where the benchmark or the head does not say."""
    right = scenario.right(heard)
    sure = np.array([np.nan if d.confidence is None else d.confidence for h in heard for d in h.said])
    known = np.isfinite(sure)
    if right is None or not known.any():
        return None
    table = metrics.reliability(sure[known], right[known])
    return {"ece": metrics.ece(table), "reliability": [list(row) for row in table]}


def _robustness(bundle: Bundle, scenario: Scenario, runs: Sequence[Run], say: Say) -> dict[str, Any]:
    """The leading figure, and the share that novelty refuses, with one sensor broken from the first judged row on: the worst sensor."""
    used = [i for i, c in enumerate(scenario.card.channels) if any(c.is_called(r.role) for r in bundle.card.roles)]
    channels = [used[i] for i in np.unique(np.linspace(0, len(used) - 1, min(_TRIED_CHANNELS, len(used))).astype(int))]
    every = scenario.episodes(runs)
    episodes = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(_TRIED_EPISODES, len(every))).astype(int))]
    say(f"{bundle.id}: {len(faults.FAULTS)} sensor faults on {len(channels)} channels of {len(episodes)} episodes")
    metric = scenario.card.metric
    plain = scenario.judge(listen(bundle, bundle.model, episodes, scenario.card))
    found: dict[str, Any] = {"metric": metric, "episodes": len(episodes), "none": plain.get(metric), "faults": {}}
    for name, fault in faults.FAULTS.items():
        tried = []
        for channel in channels:
            broken = [spoilt(e, fault, channel, used) for e in episodes]
            heard = listen(bundle, bundle.model, broken, scenario.card)
            refused = float(np.concatenate([h.refused() for h in heard]).mean())
            tried.append((scenario.judge(heard).get(metric, float("nan")), refused, scenario.card.channels[channel].name))
        worst = min(tried) if scenario.card.higher_is_better else max(tried)
        found["faults"][name] = {
            "worst": worst[0],
            "refused_then": worst[1],
            "channel": worst[2],
            "refused_mean": float(np.mean([r for _, r, _ in tried])),
        }
    return found


def spoilt(episode: Episode, fault: faults.Fault, channel: int, used: Sequence[int]) -> Episode:
    """The episode with a fault in one of the used channels, from the first judged row on: the baseline was learnt before."""
    if episode.values.ndim > 2:
        return _spoilt_picture(episode, fault)
    rows = np.array(episode.values)
    part = rows[episode.first :][:, list(used)]
    rows[np.ix_(range(episode.first, len(rows)), list(used))] = fault(part, list(used).index(channel), np.random.default_rng(channel))
    return replace(episode, values=rows.astype(np.float32))


def _spoilt_picture(episode: Episode, fault: faults.Fault) -> Episode:
    """The same of a camera: its pixels are the rows."""
    rows = episode.values.reshape(len(episode.values), -1).T.astype(np.float64)
    broken = np.clip(np.rint(fault(rows, 0, np.random.default_rng(0))), 0, 255).T.reshape(episode.values.shape)
    return replace(episode, values=broken.astype(np.uint8))


def _note(parted: Sides, runs: Sequence[Run]) -> str:
    if not parted.listed:
        return "IN-SAMPLE: the card lists no training runs (provenance.runs), so every run counts as known; use --folds to judge the recipe"
    if not parted.unseen:
        return (
            f"IN-SAMPLE: the bundle was trained on all {len(runs)} runs of this folder; use --folds to judge the recipe, or give other runs"
        )
    return f"held out: {len(parted.unseen)} of {len(runs)} runs that the card does not list"


def _scenario(card: catalog.Card) -> dict[str, Any]:
    words = ("name", "title", "data", "licence", "split", "metric", "higher_is_better")
    return {word: getattr(card, word) for word in words} | {"traps": list(card.traps)}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return round(value, 9) if isinstance(value, float) else value
