"""What may be asked of the ledger through the control socket? `label`: a person, a test station or a page says what was true."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from edge_agent.contracts import Journal
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.labels import Label
from edge_agent.messages import Record

LONGEST = 500
_MOST_ABOUT = 1000
_WAIT_S = 10.0


class Ledger(Journal, Protocol):
    """The journal, and a look at what it holds."""

    def find(self, seq: int) -> Record | None: ...


async def label(journal: Ledger, request: Mapping[str, Any]) -> dict[str, Any]:
    """{"do": "label", "seq": 41 | [41, 42], "value": "...", "by": "...", "note": "..."} -> {"seq": 57}, after the commit."""
    about = _seqs(request.get("seq"))
    by, note = _text(request, "by", "operator"), _text(request, "note", "", may_be_empty=True)
    said = Label(about=about, value=_text(request, "value"), author=by, note=note)
    loops = {(await _known(journal, seq)).loop for seq in about}
    if len(loops) > 1:
        raise EdgeAgentError(f"label: the records {_list(about)} belong to different loops; label each loop's on their own")
    async with asyncio.timeout(_WAIT_S):
        return {"seq": await journal.append("label", said.payload(), loop=loops.pop())}


async def _known(journal: Ledger, seq: int) -> Record:
    record = await asyncio.to_thread(journal.find, seq)
    if record is None:
        raise EdgeAgentError(f"label: there is no record {seq}; `edge-agent ledger tail` shows the newest")
    if record.kind == "label":
        raise EdgeAgentError(f"label: record {seq} is itself a label; label what it speaks of: {_list(record.payload.get('about', []))}")
    return record


def _seqs(value: Any) -> tuple[int, ...]:
    seqs = value if isinstance(value, list) else [value]
    right = all(isinstance(seq, int) and not isinstance(seq, bool) and 0 < seq < 1 << 62 for seq in seqs)
    if not seqs or len(seqs) > _MOST_ABOUT or not right:
        raise EdgeAgentError(f"label: `seq` is {str(value)[:60]!r}; give a record's number, or up to {_MOST_ABOUT} of them")
    return tuple(dict.fromkeys(seqs))


def _text(request: Mapping[str, Any], name: str, default: str | None = None, *, may_be_empty: bool = False) -> str:
    value = request.get(name)
    value = default if value is None else value
    if not isinstance(value, str) or len(value) > LONGEST or not (may_be_empty or value.strip()):
        raise EdgeAgentError(f"label: `{name}` is {str(value)[:60]!r}; give a text of at most {LONGEST} characters")
    return value.strip()


def _list(seqs: Any) -> str:
    return ", ".join(map(str, list(seqs)[:10]))
