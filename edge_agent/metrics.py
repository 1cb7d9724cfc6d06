"""Which figures does the agent offer to Prometheus? Read from its status when asked; nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Status = Mapping[str, Any]

_DRIFT = ("loops", "*", "diagnose", "drift")

# name, kind, help, label, where: path into the status; "*" stands for the names under it and becomes the label's value
METRICS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("up_seconds", "gauge", "Seconds since the agent started.", "", ("up_s",)),
    ("stuck", "gauge", "1 while a part makes no progress; the watchdog is not fed then.", "", ("health",)),
    ("jitter_seconds", "gauge", "By how much the latest of the last rounds was late.", "", ("machine", "jitter_s")),
    ("clock_steps", "counter", "Times the box's own clock was set.", "", ("machine", "clock_steps")),
    ("disk_free_bytes", "gauge", "Bytes left on the disk of the state folder.", "", ("machine", "disk_free")),
    ("part_crashes", "counter", "Times a part crashed and was started again.", "part", ("parts", "*", "crashes")),
    ("inbox_waiting_samples", "gauge", "Samples received and not yet taken.", "", ("inbox", "waiting")),
    ("inbox_max_samples", "gauge", "How many may wait.", "", ("inbox", "bound")),
    ("inbox_dropped_samples", "counter", "Samples dropped because the inbox was full.", "", ("inbox", "dropped")),
    ("unrecorded_samples", "counter", "Samples to be recorded that the ledger did not take.", "", ("inbox", "not_recorded")),
    ("unknown_samples", "counter", "Samples of tags nobody declared.", "", ("perceive", "unknown")),
    ("clock_shifts", "counter", "Times a device's clock was set.", "", ("perceive", "clock_shifts")),
    ("link_up", "gauge", "1 while the connector's link is up.", "connector", ("connectors", "*", "up")),
    ("tag_samples", "counter", "Samples received.", "tag", ("tags", "*", "samples")),
    ("tag_unfit_samples", "counter", "Samples that were no evidence.", "tag", ("tags", "*", "unfit")),
    ("tag_quality", "gauge", "Quality flags of the newest value; 0 is good.", "tag", ("tags", "*", "quality")),
    ("loop_turns", "counter", "Windows diagnosed and decided.", "loop", ("loops", "*", "turns")),
    ("loop_refused", "gauge", "1: the loop does not run, its model was refused.", "loop", ("refused", "*")),
    ("loop_waiting_windows", "gauge", "Windows cut and not yet diagnosed.", "loop", ("loops", "*", "waiting")),
    ("loop_dropped_windows", "counter", "Windows dropped because the loop could not keep up.", "loop", ("loops", "*", "dropped")),
    ("loop_unfit_windows", "counter", "Windows with a channel that was no evidence.", "loop", ("loops", "*", "unfit")),
    ("loop_turn_seconds", "gauge", "Time from cutting the newest window to its record.", "loop", ("loops", "*", "turn_s")),
    ("loop_errors", "counter", "Turns that ended in an error.", "loop", ("loops", "*", "errors")),
    ("loop_armed", "gauge", "1 while the loop may write.", "loop", ("loops", "*", "armed")),
    ("loop_score", "gauge", "Newest score.", "loop", ("loops", "*", "diagnosis", "score")),
    ("loop_novelty", "gauge", "Newest novelty.", "loop", ("loops", "*", "diagnosis", "novelty")),
    (
        "loop_fallback",
        "gauge",
        "1 while a fall-back stands in for the loop's own model.",
        "loop",
        ("loops", "*", "diagnose", "fallback"),
    ),
    ("loop_drifting", "gauge", "1 while score, novelty or inputs have moved away from training.", "loop", (*_DRIFT, "drifting")),
    ("loop_drift_score_psi", "gauge", "Population stability index of the score.", "loop", (*_DRIFT, "score_psi")),
    ("loop_drift_novelty_ks", "gauge", "How far novelty lies above that of training.", "loop", (*_DRIFT, "novelty_ks")),
    ("loop_drift_shift", "gauge", "Largest mean shift of an input, in training deviations.", "loop", (*_DRIFT, "shift")),
    ("loop_writes", "counter", "Writes that left for the plant.", "loop", ("loops", "*", "writes")),
    ("loop_refusals", "counter", "Proposals that the gate refused.", "loop", ("loops", "*", "refusals")),
    ("loop_owed_records", "gauge", "Records that the ledger has yet to take.", "loop", ("loops", "*", "execute", "owed_records")),
    ("loop_missed_beats", "counter", "Heartbeats that did not reach the PLC.", "loop", ("loops", "*", "execute", "missed_beats")),
    ("loop_lost_turns", "counter", "Turns whose feedback was not written.", "loop", ("loops", "*", "feedback", "lost_turns")),
    ("loop_over_budget", "counter", "Windows not kept: the day's budget was used.", "loop", ("loops", "*", "feedback", "over_budget")),
    ("ledger_healthy", "gauge", "1 while records reach the disk.", "", ("ledger", "healthy")),
    ("ledger_seq", "counter", "Number of the newest record.", "", ("ledger", "last_seq")),
    ("ledger_bytes", "gauge", "Bytes on disk.", "", ("ledger", "bytes")),
    ("ledger_max_bytes", "gauge", "Bytes that it may take.", "", ("ledger", "max_bytes")),
    ("ledger_queued", "gauge", "Records waiting for their commit.", "", ("ledger", "waiting")),
    ("ledger_max_queued", "gauge", "How many may wait.", "", ("ledger", "max_waiting")),
    ("ledger_refused", "counter", "Records not taken: the queue was full, or the disk in trouble.", "", ("ledger", "refused")),
    ("ledger_failures", "counter", "Commits that failed.", "", ("ledger", "failures")),
    ("recording_failed", "gauge", "1: the recording has ended before its time.", "", ("recording", "failed")),
    ("worker_crashes", "counter", "Times the model process ended unasked.", "", ("worker", "crashes")),
    ("worker_late", "counter", "Model runs past their deadline.", "", ("worker", "late")),
)

_HEAD = """# Metrics

Generated by `make generate`. The API serves them at `/metrics` in Prometheus' text format, with its own (`edge_agent_api_*`) behind them.
A metric without a value (no diagnosis yet, no model loaded) has no line.
"""


class _Snapshot:
    """A collector over one status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        for name, kind, text, label, path in METRICS:
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                f"edge_agent_{name}", text, labels=[label] if label else []
            )
            for names, value in _values(self._status, path, ()):
                family.add_metric(list(names), value)
            yield family


def text(status: Status) -> str:
    """The status in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(status))
    return generate_latest(registry).decode()


def document() -> str:
    """docs/metrics.md."""
    rows = [f"| `{_full(name, kind)}` | {kind} | {label} | {text} |" for name, kind, text, label, _ in METRICS]
    return "\n".join([_HEAD, "| name | kind | label | what |", "|---|---|---|---|", *rows, ""])


def _full(name: str, kind: str) -> str:
    return f"edge_agent_{name}_total" if kind == "counter" else f"edge_agent_{name}"


def _values(value: Any, path: tuple[str, ...], names: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], float]]:
    if not path:
        if isinstance(value, str | bool | int | float):
            yield names, float(bool(value) if isinstance(value, str) else value)  # words: whether there is something to say
        return
    if not isinstance(value, Mapping):
        return
    if path[0] == "*":
        for name, inner in value.items():
            yield from _values(inner, path[1:], (*names, str(name)))
    elif path[0] in value:
        yield from _values(value[path[0]], path[1:], names)
