"""How does a report become one HTML file that loads nothing from anywhere? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;
--ink:#1b1f24;--paper:#fff;--soft:#667;--line:#d5d9de;--good:#1a7f37;--bad:#b42318;--warn:#9a6700;--bar:#3b6ea5}
@media(prefers-color-scheme:dark){
:root{--ink:#e6e8ea;--paper:#14171a;--soft:#9aa3ad;--line:#343a40;--bar:#6ea3dd;--good:#4ac26b;--bad:#ff8a80;--warn:#d4a72c}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1080px;margin:2em auto;padding:0 1em}
h1{font-size:1.4em;margin-bottom:.2em}h2{font-size:1.1em;margin-top:1.8em}p.lead{font-size:1.05em}
table{border-collapse:collapse;margin:.6em 0}
td,th{padding:.25em .8em .25em 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.soft{color:var(--soft)}
svg{margin:.4em 1.2em .4em 0}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
svg .title{font-weight:600;font-size:12px}svg rect{fill:var(--bar)}
svg .limit{stroke:var(--bad);stroke-dasharray:4 3;fill:none}svg .axis{stroke:var(--line);fill:none}svg .curve{fill:none;stroke-width:1.6}
svg polyline.c0{stroke:#3b6ea5}svg polyline.c1{stroke:#c2571a}svg polyline.c2{stroke:#2f855a}svg polyline.c3{stroke:#8250df}
svg circle.c0,svg text.c0{fill:#3b6ea5}svg circle.c1,svg text.c1{fill:#c2571a}
svg circle.c2,svg text.c2{fill:#2f855a}svg circle.c3,svg text.c3{fill:#8250df}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole file."""
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    top = f"{head}{policy}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
    return "\n".join([top, "<body>", f"<h1>{escape(title)}</h1>", *parts, "</body></html>", ""])


def heading(text: str) -> str:
    """A heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, mood: str = "") -> str:
    """A paragraph; `mood` is good, bad, warn, soft or lead."""
    return f'<p class="{escape(mood)}">{escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], moods: Sequence[str] = ()) -> str:
    """Numbers to the right; one mood a row, if given."""
    lines = ["<table><tr>", *(f"<th>{escape(h)}</th>" for h in head), "</tr>"]
    for i, row in enumerate(rows):
        mood = escape(moods[i]) if i < len(moods) else ""
        lines += [f'<tr class="{mood}">', *(_cell(value) for value in row), "</tr>"]
    return "".join([*lines, "</table>"])


def number(value: Any) -> str:
    """As people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> str:
    kind = "n" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return f'<td class="{kind}">{escape(number(value))}</td>'
