"""How does an inspection read: as text for a terminal, and as a page with plots? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.lab import page, svg
from edge_agent.lab.report import columns

_MARK = {"pass": "ok", "note": "note", "limit": "LIMIT", "refuse": "REFUSED"}
_MOOD = {"pass": "good", "note": "soft", "limit": "warn", "refuse": "bad"}


def text(report: Mapping[str, Any]) -> str:
    """For a terminal: what it is, each check, the verdict."""
    lines = [f"{report['model']}", *_about(report), ""]
    lines += columns([[_MARK[f["level"]], f["check"], f["said"]] for f in report["findings"]])
    return "\n".join([*lines, "", _verdict(report)])


def html(report: Mapping[str, Any]) -> str:
    """A page of its own."""
    findings = report["findings"]
    word, mood = ("FIT", "good") if report["ok"] else ("REFUSED", "bad")
    rows = [(page.Pill(_MARK[f["level"]], _MOOD[f["level"]]), f["check"], f["said"], _tier(f)) for f in findings]
    parts = [
        page.tiles(_tiles(report)),
        page.section("The bundle", page.facts(_facts(report))),
        page.section("Checks", page.table(["", "check", "finding", "allows"], rows)),
        page.figures([plot for f in findings for plot in _plots(f.get("numbers", {}))]),
    ]
    return page.page(f"Inspection of {report['model']}", (word, mood, _verdict(report)), parts)


def _tier(finding: Mapping[str, Any]) -> str:
    return "nothing" if finding["tier"] < 0 else f"tier {finding['tier']}"


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """What a reader asks first."""
    numbers = {f["check"]: f.get("numbers", {}) for f in report["findings"]}
    time, unseen, foreign = numbers.get("time", {}), numbers.get("broken sensors", {}), numbers.get("outside the envelope", {})
    said = report["verdict"]
    found = [("highest tier", said["tier"] if said["fit"] else "none", f"today {said['today']}" if said["fit"] else "refused")]
    found.append(("checks passed", f"{sum(f['level'] == 'pass' for f in report['findings'])} of {len(report['findings'])}", ""))
    if time:
        found.append(("p99 of one window", f"{time['p99_us']:.0f} us", f"median {time['p50_us']:.0f} us"))
    if refused := foreign.get("refused"):
        found.append(("foreign windows refused", f"{sum(refused.values()) / len(refused):.0%}", "by the novelty gate"))
    if faults := unseen.get("faults"):
        share = sum(f["changed_unseen"] for f in faults.values()) / len(faults)
        found.append(("changed unnoticed", f"{share:.0%}", "of answers, by one broken sensor"))
    return found


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    return {line[:12].strip(): line[12:] for line in _about(report)}


def _about(report: Mapping[str, Any]) -> list[str]:
    if "intended" not in report:
        return []
    roles = ", ".join(f"{r['role']} [{r['unit'] or '-'}]" for r in report["roles"][:12])
    more = f" and {len(report['roles']) - 12} more" if len(report["roles"]) > 12 else ""
    return [
        f"  use       {report['intended']['use']}",
        f"  not for   {report['intended']['not_for'] or '-'}",
        f"  window    {report['rows']} rows of {roles}{more}",
        f"  signed    by {report['signed_by'] or 'nobody trusted'}",
        f"  hash      {report['hash']}",
    ]


def _verdict(report: Mapping[str, Any]) -> str:
    said = report["verdict"]
    if not said["fit"]:
        return f"REFUSED: {said['why']}"
    today = f"; tier {said['today']} until a trusted key signs it" if said["today"] < said["tier"] else ""
    return f"fit for loops up to tier {said['tier']} ({said['why']}){today}"


def _plots(numbers: Mapping[str, Any]) -> list[str]:
    parts = []
    if faults := numbers.get("faults"):
        parts.append(
            svg.bars("Answers that a broken sensor changes unnoticed", [(n, f["changed_unseen"]) for n, f in faults.items()], top=1.0)
        )
        parts.append(svg.bars("Broken sensors that novelty refuses", [(n, f["refused"]) for n, f in faults.items()], top=1.0))
    if refused := numbers.get("refused"):
        parts.append(svg.bars("Foreign windows that novelty refuses", list(refused.items()), top=1.0, limit=0.9))
    if moves := numbers.get("moves"):
        curve = [(i / max(len(moves) - 1, 1), v) for i, v in enumerate(moves)]
        parts.append(svg.lines("Worst small disturbance", [("score moves by", curve)], x="share of windows", y="score"))
    if rows := numbers.get("reliability"):
        parts.append(svg.lines("Reliability", [("share right", [(c, r) for c, r, _ in rows])], x="confidence", y="right", diagonal=True))
    if "p50_us" in numbers:
        parts.append(svg.bars("Microseconds a window", [(n.removesuffix("_us"), numbers[n]) for n in ("p50_us", "p99_us", "max_us")]))
    return parts
