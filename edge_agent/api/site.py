"""What does the local page show? One plain page made here: no script, no external asset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from edge_agent.messages import Record

SHOWN = ("intent", "outcome", "decision", "label", "mode", "gap")
MOST = 15
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_STYLE = """
body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
.bad{background:#fde8e6}.armed{background:#fff4d6}
@media(prefers-color-scheme:dark){body{background:#181818;color:#e6e6e6}
th,td{border-color:#444}.bad{background:#4a1f1c}.armed{background:#4a3c12}}
"""


def render(agent: str, status: dict[str, Any], records: Sequence[Record]) -> str:
    """The whole page."""
    body = [f"<h1>{escape(agent)}</h1>"]
    if status.get("degraded"):
        body.append(f'<p class="bad"><strong>{escape(str(status.get("why")))}</strong> Shown is what the ledger holds.</p>')
    body += [_loops(status.get("loops", {}), status.get("refused", {})), _links(status.get("connectors", {})), _records(records)]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="refresh" content="10"><title>{escape(agent)}: edge agent</title><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>"
    )


def _loops(loops: dict[str, Any], refused: dict[str, str]) -> str:
    rows = [_loop(name, loop) for name, loop in loops.items() if isinstance(loop, dict)]
    rows += [("bad", [name, "does not run", "", "", str(why)]) for name, why in refused.items()]
    return _table("Loops", ("loop", "mode", "state", "diagnosis", "why"), rows) if rows else ""


def _loop(name: str, loop: dict[str, Any]) -> tuple[str, list[str]]:
    mode = str(loop.get("mode", "?"))
    mark = "armed" if mode == "armed" else "bad" if mode in ("hold", "shed", "lockout") else ""
    return mark, [name, mode, str(loop.get("state", "")), _flat(loop.get("diagnosis")), str(loop.get("why") or "")]


def _links(links: dict[str, Any]) -> str:
    rows = [
        ("" if link.get("link") == "up" else "bad", [name, str(link.get("link", "?")), str(link.get("reason") or "")])
        for name, link in links.items()
        if isinstance(link, dict)
    ]
    return _table("Connections", ("connector", "link", "reason"), rows) if rows else ""


def _records(records: Sequence[Record]) -> str:
    newest = sorted(records, key=lambda record: -record.seq)[: 3 * MOST]
    rows = [(_mark(r), [str(r.seq), _when(r.wall_ns), r.kind, r.loop or "", _flat(dict(r.payload))]) for r in newest]
    return _table("What happened", ("seq", "time", "kind", "loop", "what"), rows) if rows else "<p>Nothing has happened yet.</p>"


def _mark(record: Record) -> str:
    return "bad" if record.kind == "gap" or record.payload.get("status") in ("refused", "reverted", "no_response", "unknown") else ""


def _table(title: str, heads: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f'<tr class="{mark}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>' for mark, cells in rows)
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _flat(values: Any) -> str:
    if not isinstance(values, dict):
        return str(values or "")
    shown = {k: v for k, v in values.items() if v not in (None, "", [], {}) and not isinstance(v, dict | list)}
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items())[:300]


def _when(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9).astimezone().isoformat(" ", "seconds")
