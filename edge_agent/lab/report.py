"""How does a report card read: as text for a terminal, as a page, and many of them as a leaderboard? Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.lab import page, svg

_MOOD = {True: "good", False: "bad", None: "warn"}
_WORD = {True: "met", False: "MISSED", None: "not proven"}
_ENERGY = "energy: this processor does not tell (no readable RAPL)"


def text(card: Mapping[str, Any]) -> str:
    """For a terminal."""
    said = card["scenario"]
    lines = [f"{card['model']} on {said['title']}", f"  {card['note']}", f"  split: {said['split']}", ""]
    kinds = list(card["graphs"])
    rows = [["figure", *kinds, "95 % interval", *_beside(card), *card["blind"]]]
    rows += [_row(name, card, kinds) for name in card["graphs"][card["shipped"]]["figures"]]
    lines += [*columns(rows), ""]
    lines += [*columns([["target", "", "reached", ""], *map(_target, card["targets"])]), ""]
    if published := card["published"]:
        lines += [*columns([["published", "", ""], *([p["who"], _pairs(p["figures"]), p["note"]] for p in published)]), ""]
    return "\n".join([*lines, *_cost(card), *_confidence(card), *_robust(card), *_folds(card), *(f"trap: {t}" for t in said["traps"])])


def html(card: Mapping[str, Any]) -> str:
    """A page of its own."""
    said, shipped = card["scenario"], card["graphs"][card["shipped"]]
    kinds = list(card["graphs"])
    head = ["figure", *kinds, "95 % interval", *_beside(card), *card["blind"]]
    parts = [
        page.paragraph(card["note"], "warn" if card["basis"] == "in-sample" else "lead"),
        page.paragraph(f"{said['title']}. Split: {said['split']}. Data: {said['data']} ({said['licence']}).", "soft"),
        page.heading("Targets"),
        page.table(
            ["metric", "", "target", "reached", ""], [_target(t) for t in card["targets"]], [_MOOD[t["met"]] for t in card["targets"]]
        ),
        page.heading("Figures, and what no data reaches"),
        page.table(head, [_row(name, card, kinds) for name in shipped["figures"]]),
        page.heading("Published"),
        page.table(
            ["who", "figures", "source", "note"], [(p["who"], _pairs(p["figures"]), p["source"], p["note"]) for p in card["published"]]
        ),
        page.heading("Cost, confidence, broken sensors"),
        *(page.paragraph(line) for line in (*_cost(card), *_confidence(card))),
        *_plots(card),
        *(page.paragraph(f"Trap: {trap}", "soft") for trap in said["traps"]),
    ]
    return page.page(f"{card['model']} on {said['name']}", parts)


def leaderboard(cards: Sequence[Mapping[str, Any]]) -> str:
    """One table a scenario, the best held-out figure first; in-sample figures last, whatever they are."""
    lines = []
    for name in sorted({c["scenario"]["name"] for c in cards}):
        mine = [c for c in cards if c["scenario"]["name"] == name]
        metric, sign = mine[0]["scenario"]["metric"], -1 if mine[0]["scenario"]["higher_is_better"] else 1
        mine.sort(key=lambda c: (c["basis"] == "in-sample", sign * _reached(c, metric)))
        rows = [[name, metric, "basis", "95 %", "targets", "p99 us", "kB"], *(_line(c, metric) for c in mine)]
        blind = [[f"({who})", page.number(f[metric]), "no data", "", "", "", ""] for who, f in mine[0]["blind"].items() if metric in f]
        known = [
            [f"({p['who']})", page.number(p["figures"][metric]), "published", "", "", "", ""]
            for p in mine[0]["published"]
            if metric in p["figures"]
        ]
        lines += [*columns(rows + blind + known), ""]
    return "\n".join(lines).rstrip()


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts, set under one another."""
    wide = [max(len(str(row[i])) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return ["  " + "  ".join(str(cell).ljust(w) for cell, w in zip(row, wide, strict=False)).rstrip() for row in rows]


def _row(name: str, card: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    span = card["graphs"][card["shipped"]]["interval"].get(name)
    values = [card["graphs"][kind]["figures"].get(name) for kind in kinds]
    beside = [card[key].get(name) for key in _beside(card).values()]
    blind = [figures.get(name) for figures in card["blind"].values()]
    interval = f"{span[0]:.4g} .. {span[1]:.4g}" if span else "-"
    return [name, *map(page.number, values), interval, *map(page.number, beside), *map(page.number, blind)]


def _beside(card: Mapping[str, Any]) -> dict[str, str]:
    """Columns that stand beside the headline: their title, and where they are in the card."""
    titles = {f"unsmoothed (not the median of {card['smoothing']})": "single_window", "on runs it knows": "in_sample"}
    return {title: key for title, key in titles.items() if key in card}


def _target(target: Mapping[str, Any]) -> list[str]:
    return [target["metric"], f"{target['at']} {target['value']:g}", page.number(target["reached"]), _WORD[target["met"]]]


def _pairs(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in figures.items())


def _cost(card: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, c in card.get("cost", {}).items():
        memory = "-" if c["memory_bytes"] is None else f"{c['memory_bytes'] / 1e6:.1f} MB"
        times = f"p50 {c['p50_us']:.0f} us, p99 {c['p99_us']:.0f} us (of processor time {c['cpu_p99_us']:.0f} us)"
        lines.append(f"{kind}: {times}, {c['bytes'] / 1000:.0f} kB, {memory} of memory")
        lines += [f"{kind}: {c['joules'] * 1e3:.3f} mJ a window"] if c["joules"] is not None else []
    return [*lines, _ENERGY] if lines and all(c["joules"] is None for c in card["cost"].values()) else lines


def _confidence(card: Mapping[str, Any]) -> list[str]:
    found = card.get("confidence")
    return [f"confidence: expected calibration error {found['ece']:.3f}"] if found else []


def _robust(card: Mapping[str, Any]) -> list[str]:
    if not (found := card.get("robustness")):
        return []
    rows = [
        ["broken sensor", f"worst {found['metric']}", "on", "refused then", "refused on average"],
        ["(none)", page.number(found["none"]), "", "", ""],
    ]
    rows += [
        [n, page.number(f["worst"]), f["channel"], f"{f['refused_then']:.0%}", f"{f['refused_mean']:.0%}"]
        for n, f in found["faults"].items()
    ]
    return ["", *columns(rows)]


def _folds(card: Mapping[str, Any]) -> list[str]:
    if not (folds := card.get("folds")):
        return []
    metric = card["scenario"]["metric"]
    return ["", *columns([["fold", metric], *([f["fold"], page.number(f["figures"].get(metric))] for f in folds)])]


def _plots(card: Mapping[str, Any]) -> list[str]:
    parts = []
    if found := card.get("confidence"):
        parts.append(
            svg.lines(
                "Reliability", [("share right", [(c, r) for c, r, _ in found["reliability"]])], x="confidence", y="right", diagonal=True
            )
        )
    if found := card.get("robustness"):
        items = [("no fault", found["none"] or 0.0), *((n, f["worst"]) for n, f in found["faults"].items())]
        parts.append(svg.bars(f"{found['metric']} with the worst sensor broken", items))
        parts.append(svg.bars("Refused by the novelty gate", [(n, f["refused_mean"]) for n, f in found["faults"].items()], top=1.0))
    if folds := card.get("folds"):
        parts.append(svg.bars(card["scenario"]["metric"], [(f["fold"], f["figures"].get(card["scenario"]["metric"], 0.0)) for f in folds]))
    return parts


def _reached(card: Mapping[str, Any], metric: str) -> float:
    value: float = card["graphs"][card["shipped"]]["figures"].get(metric, 0.0)
    return value


def _line(card: Mapping[str, Any], metric: str) -> list[str]:
    span = card["graphs"][card["shipped"]]["interval"].get(metric)
    met = [t["met"] for t in card["targets"]]
    cost = card.get("cost", {}).get(card["shipped"], {})
    return [
        card["model"],
        page.number(_reached(card, metric)),
        card["basis"],
        f"{span[0]:.3g} .. {span[1]:.3g}" if span else "-",
        f"{met.count(True)}/{len(met)}" if card["basis"] != "in-sample" else "not proven",
        page.number(cost.get("p99_us")),
        page.number(round(cost["bytes"] / 1000) if cost else None),
    ]
