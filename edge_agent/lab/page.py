"""How does a report become one HTML file that loads nothing from anywhere? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5f6b7a;--paper:#f3f5f8;--panel:#fff;--line:#dfe4ea;--zebra:#f8fafc;
--good:#17703a;--good-bg:#dff3e5;--warn:#8a5a00;--warn-bg:#fdf0d2;--bad:#b3261e;--bad-bg:#fbe1df;--plain-bg:#e9edf2;
--c0:#2f6db5;--c1:#c2571a;--c2:#2f855a;--c3:#8250df}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaee;--soft:#9aa6b4;--paper:#12161b;--panel:#1a2027;--line:#2d3641;--zebra:#1f262e;
--good:#6fd08f;--good-bg:#173524;--warn:#e3b75a;--warn-bg:#3a2f16;--bad:#ff9d94;--bad-bg:#43211f;--plain-bg:#29313b;
--c0:#6ea8ea;--c1:#f0935a;--c2:#62c08d;--c3:#b794f6}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main{max-width:1180px;margin:0 auto;padding:0 24px 48px}
header{background:var(--panel);border-bottom:1px solid var(--line);margin-bottom:22px}
header>div{max-width:1180px;margin:0 auto;padding:20px 24px 18px}
.brand{color:var(--soft);font-size:12px;letter-spacing:.08em;text-transform:uppercase}
h1{font-size:24px;line-height:1.25;margin:.15em 0 .45em}h2{font-size:16px;margin:0 0 10px}
p{margin:.35em 0}p.soft,.soft{color:var(--soft)}
.verdict{display:flex;gap:10px;align-items:flex-start}
.pill{display:inline-block;border-radius:999px;padding:1px 10px;font-size:12.5px;font-weight:600;white-space:nowrap;
background:var(--plain-bg)}
.pill.good{color:var(--good);background:var(--good-bg)}.pill.warn{color:var(--warn);background:var(--warn-bg)}
.pill.bad{color:var(--bad);background:var(--bad-bg)}.pill.soft{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;margin:0 0 18px}
.tile,section,figure{background:var(--panel);border:1px solid var(--line);border-radius:10px}
.tile{padding:12px 14px}.tile b{display:block;font-size:23px;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:12.5px}
section{padding:16px 18px;margin:0 0 18px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{color:var(--soft);font-weight:600;font-size:12.5px}
td,th{padding:6px 14px 6px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
tr:last-child td{border-bottom:0}td:first-child,th:first-child{padding-left:4px}tr:nth-child(odd) td{background:var(--zebra)}
td.n,th.n{text-align:right}td.n,td.s{font-variant-numeric:tabular-nums;white-space:nowrap}th{vertical-align:bottom}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:14px;margin:0 0 18px}
figure{margin:0;padding:12px 14px}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,"Segoe UI",Roboto,sans-serif;fill:var(--ink)}svg .tick{fill:var(--soft)}
svg .title{font-weight:600;font-size:13px}
svg .bar{fill:var(--c0)}svg .rail{fill:var(--zebra)}svg .grid{stroke:var(--line);fill:none}svg .axis{stroke:var(--soft);fill:none}
svg .limit{stroke:var(--bad);stroke-dasharray:4 3;fill:none}svg .curve{fill:none;stroke-width:1.8}
svg .c0{stroke:var(--c0)}svg .c1{stroke:var(--c1)}svg .c2{stroke:var(--c2)}svg .c3{stroke:var(--c3)}
svg circle.c0,svg text.c0{fill:var(--c0);stroke:none}svg circle.c1,svg text.c1{fill:var(--c1);stroke:none}
svg circle.c2,svg text.c2{fill:var(--c2);stroke:none}svg circle.c3,svg text.c3{fill:var(--c3);stroke:none}
a{color:var(--c0)}@media print{body{background:#fff}section,figure,.tile{break-inside:avoid}}
"""


class Pill(NamedTuple):
    """A word with a mood: good, warn, bad or soft."""

    text: str
    mood: str


class Link(NamedTuple):
    """A way to another file beside this one."""

    text: str
    file: str


def page(title: str, verdict: tuple[str, str, str], parts: Iterable[str]) -> str:
    """A whole file. `verdict` is a word, its mood, and a sentence."""
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    word, mood, said = verdict
    top = f'<header><div><div class="brand">edge-agent</div><h1>{escape(title)}</h1>'
    top += f'<div class="verdict">{_pill(Pill(word, mood))}<span>{escape(said)}</span></div></div></header>'
    start = f"{head}{policy}<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    return "\n".join([start, top, "<main>", *parts, "</main></body></html>", ""])


def section(title: str, *parts: str) -> str:
    """A titled panel; nothing where there is nothing in it."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>" if any(parts) else ""


def tiles(items: Iterable[tuple[str, Any, str]]) -> str:
    """Key figures: what, value, note."""
    made = [f"<div class=tile><span>{escape(w)}</span><b>{escape(number(v))}</b><span>{escape(n)}</span></div>" for w, v, n in items]
    return f"<div class=tiles>{''.join(made)}</div>" if made else ""


def figures(plots: Sequence[str]) -> str:
    """Plots side by side."""
    return f"<div class=figures>{''.join(f'<figure>{plot}</figure>' for plot in plots)}</div>" if plots else ""


def facts(known: Mapping[str, str]) -> str:
    """What is what, one a line."""
    return f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in known.items())}</dl>"


def paragraph(text: str, mood: str = "") -> str:
    """A paragraph; `mood` may be soft."""
    return f'<p class="{escape(mood)}">{escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Numbers, and their heads, to the right."""
    body = [list(row) for row in rows]
    if not body:
        return ""
    right = [any(_is_number(row[i]) for row in body if i < len(row)) for i in range(len(head))]
    lines = ["<table><tr>", *(f'<th class="{"n" if r else ""}">{escape(h)}</th>' for h, r in zip(head, right, strict=True)), "</tr>"]
    for row in body:
        lines += ["<tr>", *(_cell(value, right[i]) for i, value in enumerate(row)), "</tr>"]
    return "".join([*lines, "</table>"])


def number(value: Any) -> str:
    """As people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    """Also one that was made a text already."""
    if isinstance(value, str):
        return value.replace(".", "", 1).replace("e-", "", 1).lstrip("-").isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, right: bool) -> str:
    if isinstance(value, Pill):
        return f"<td>{_pill(value)}</td>"
    if isinstance(value, Link):
        return f'<td><a href="{escape(value.file)}">{escape(value.text)}</a></td>'
    kind = "n" if right else "s" if " .. " in str(value) else ""  # a span stays on its line
    return f'<td class="{kind}">{escape(number(value))}</td>'


def _pill(pill: Pill) -> str:
    return f'<span class="pill {escape(pill.mood)}">{escape(pill.text)}</span>'
