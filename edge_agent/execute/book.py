"""What has to be on record, when the ledger cannot take it at once? It is owed: kept, bounded, and put down later, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from edge_agent.contracts import Journal
from edge_agent.errors import LedgerError

_MOST = 256


class Book:
    """One loop's view of the ledger."""

    def __init__(self, journal: Journal, loop: str) -> None:
        self._journal, self._loop = journal, loop
        self._owed: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=_MOST)
        self.dropped = 0

    @property
    def healthy(self) -> bool:
        """Whether the ledger takes records and has all of ours."""
        return self._journal.healthy and not self._owed

    @property
    def owed(self) -> int:
        return len(self._owed)

    async def commit(self, kind: str, payload: Mapping[str, Any]) -> int:
        """On disk when it returns. LedgerError if that cannot be."""
        return await self._journal.append(kind, payload, loop=self._loop)

    async def note(self, kind: str, payload: Mapping[str, Any]) -> None:
        """On disk when it returns, or owed."""
        if not self._owed:
            try:
                await self._journal.append(kind, payload, loop=self._loop)
            except LedgerError:
                pass
            else:
                return
        self.dropped += len(self._owed) == _MOST
        self._owed.append((kind, payload))

    async def settle(self) -> None:
        """Put down what is owed, oldest first, as far as the ledger takes it."""
        while self._owed:
            kind, payload = self._owed[0]
            try:
                await self._journal.append(kind, payload, loop=self._loop)
            except LedgerError:
                return
            self._owed.popleft()
