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
    parts = [
        page.paragraph(_verdict(report), "good" if report["ok"] else "bad"),
        *(page.paragraph(line.strip(), "soft") for line in _about(report)),
        page.heading("Checks"),
        page.table(
            ["", "check", "finding", "tier at most"],
            [(_MARK[f["level"]], f["check"], f["said"], "-" if f["tier"] < 0 else f["tier"]) for f in findings],
            [_MOOD[f["level"]] for f in findings],
        ),
        page.heading("Plots"),
        *(plot for f in findings for plot in _plots(f.get("numbers", {}))),
    ]
    return page.page(f"Inspection of {report['model']}", parts)


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
