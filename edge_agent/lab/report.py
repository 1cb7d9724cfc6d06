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
    known = {"benchmark": said["title"], "split": said["split"], "data": f"{said['data']} ({said['licence']})"}
    known |= {"bundle": card["hash"], "figures": card["figures_hash"]}
    targets = [(*_target(t)[:3], page.Pill(_WORD[t["met"]], _MOOD[t["met"]])) for t in card["targets"]]
    published = [(p["who"], _pairs(p["figures"]), p["source"], p["note"]) for p in card["published"]]
    parts = [
        page.tiles(_tiles(card)),
        page.section("What was judged, on what", page.facts(known)),
        page.section("Targets", page.table(["metric", "target", "reached", ""], targets)),
        page.section("Figures, and what no data reaches", page.table(head, [_row(name, card, kinds) for name in shipped["figures"]])),
        page.section("Published", page.table(["who", "figures", "source", "note"], published)),
        page.section("Cost and confidence", *(page.paragraph(line) for line in (*_cost(card), *_confidence(card)))),
        page.figures(_plots(card)),
        page.section("How this benchmark can be gamed", *(page.paragraph(trap) for trap in said["traps"])),
    ]
    return page.page(f"{card['model']} on {said['name']}", _headline(card), parts)


def _headline(card: Mapping[str, Any]) -> tuple[str, str, str]:
    met = [t["met"] for t in card["targets"]]
    if card["basis"] == "in-sample":
        return "NOT PROVEN", "warn", card["note"]
    word, mood = ("ALL TARGETS MET", "good") if all(met) else (f"{met.count(False)} TARGETS MISSED", "bad")
    return word, mood, card["note"]


def _tiles(card: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """The leading figure, the targets, and what a window costs."""
    metric, met = card["scenario"]["metric"], [t["met"] for t in card["targets"]]
    best_blind = [f[metric] for f in card["blind"].values() if metric in f]
    beside = (max if card["scenario"]["higher_is_better"] else min)(best_blind) if best_blind else None
    found = [(metric, _reached(card, metric), f"no data: {page.number(beside)}"), ("targets met", f"{met.count(True)} of {len(met)}", "")]
    if cost := card.get("cost", {}).get(card["shipped"]):
        found.append((f"p99 of one window, {card['shipped']}", f"{cost['p99_us']:.0f} us", f"median {cost['p50_us']:.0f} us"))
        found.append(("graph", f"{cost['bytes'] / 1000:.0f} kB", card["shipped"]))
    if confidence := card.get("confidence"):
        found.append(("calibration error", confidence["ece"], "of its confidence"))
    return found


def board(cards: Sequence[Mapping[str, Any]], files: Mapping[str, str]) -> str:
    """The leaderboard as a page; `files` says where each model's card lies: "SCENARIO MODEL" -> file."""
    parts = []
    for name in sorted({c["scenario"]["name"] for c in cards}):
        rows = _board(cards, name)
        linked = [[_linked(row[0], files.get(f"{name} {row[0]}")), *row[1:]] for row in rows[1:]]
        parts.append(
            page.section(
                f"{name}: {next(c for c in cards if c['scenario']['name'] == name)['scenario']['title']}",
                page.table(["bundle", *rows[0][1:]], linked),
            )
        )
    proven = sum(c["basis"] != "in-sample" for c in cards)
    said = f"{len(cards)} report cards, {proven} of them on runs that the bundle has never seen; the best comes first, in-sample ones last"
    return page.page("Leaderboard", (f"{len(cards)} CARDS", "good" if proven == len(cards) else "warn", said), parts)


def _linked(text: str, file: str | None) -> Any:
    return page.Link(text, file) if file else text


def leaderboard(cards: Sequence[Mapping[str, Any]]) -> str:
    """One table a scenario, the best held-out figure first; in-sample figures last, whatever they are."""
    names = sorted({c["scenario"]["name"] for c in cards})
    return "\n".join(line for name in names for line in (*columns(_board(cards, name)), "")).rstrip()


def _board(cards: Sequence[Mapping[str, Any]], name: str) -> list[list[str]]:
    """A scenario's table: bundles, then guesses that look at no data, then what others published."""
    mine = [c for c in cards if c["scenario"]["name"] == name]
    metric, sign = mine[0]["scenario"]["metric"], -1 if mine[0]["scenario"]["higher_is_better"] else 1
    mine.sort(key=lambda c: (c["basis"] == "in-sample", sign * _reached(c, metric)))
    rows = [[name, metric, "basis", "95 %", "targets", "p99 us", "kB"], *(_line(c, metric) for c in mine)]
    rows += [[f"({who})", page.number(f[metric]), "no data", "", "", "", ""] for who, f in mine[0]["blind"].items() if metric in f]
    known = [p for p in mine[0]["published"] if metric in p["figures"]]
    return rows + [[f"({p['who']})", page.number(p["figures"][metric]), "published", "", "", "", ""] for p in known]


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
