"""Several models of one loop that vote: asked together, heard as one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.vote import Vote, combine
from edge_agent.messages import Diagnosis, DiagnosisStatus, Window


class Panel:
    """The same duties as a single Diagnoser. The baseline is that of all members that learn one, one below the other."""

    def __init__(self, members: Sequence[Diagnoser], *, vote: Vote, quorum: int) -> None:
        self._members, self._vote, self._quorum = tuple(members), vote, quorum
        self.model_hash = hashlib.sha256("\n".join(m.model_hash for m in members).encode()).hexdigest()

    @property
    def model(self) -> str:
        """Who votes, and how."""
        return f"{self._vote} of {', '.join(m.model for m in self._members)}"

    async def diagnose(self, window: Window) -> Diagnosis:
        """What they say together."""
        said = await asyncio.gather(*(m.diagnose(window) for m in self._members))
        return combine(said, vote=self._vote, quorum=self._quorum, model=self.model, model_hash=self.model_hash)

    async def again(self, window: Window, timed: Sequence[tuple[DiagnosisStatus, str] | None]) -> Diagnosis:
        """For a replay: the members named in `timed` were late or failed then, and say so again; the others are asked."""
        said = [
            await member.diagnose(window) if known is None else member.no(known[0], known[1], window)
            for member, known in zip(self._members, timed, strict=True)
        ]
        return combine(said, vote=self._vote, quorum=self._quorum, model=self.model, model_hash=self.model_hash)

    def reset(self) -> None:
        """Forget the smoothing."""
        for member in self._members:
            member.reset()

    def relearn(self) -> None:
        """Forget the baselines."""
        for member in self._members:
            member.relearn()

    def baseline(self) -> list[list[float]] | None:
        """Of all that learn one, [2 * members][C]; None while one of them is still learning."""
        learnt = [m.baseline() for m in self._members if m.learns]
        return None if not learnt or None in learnt else [row for two in learnt if two for row in two]

    def restore_baseline(self, saved: Sequence[Sequence[float]]) -> None:
        """Take up what `baseline` gave before. ValueError if it cannot be these models'."""
        learners = [m for m in self._members if m.learns]
        if len(saved) != 2 * len(learners):
            raise ValueError(f"the saved baseline holds {len(saved)} rows, not {2 * len(learners)}; let {self.model} learn a new one")
        for i, member in enumerate(learners):
            member.restore_baseline(saved[2 * i : 2 * i + 2])

    def status(self) -> dict[str, Any]:
        """For `edge-agent status`: each member's own."""
        return {"drift": None, "vote": self._vote, "quorum": self._quorum, "members": {m.model: m.status() for m in self._members}}
