"""A technician's expression in the place of a model that is missing. It says 0 or 1, and never more than a rule can know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge_agent.messages import Diagnosis, Window

MODEL = "rule"


class Condition(Protocol):
    """A compiled expression over tags, three-valued."""

    @property
    def text(self) -> str: ...
    def truth(self, values: Mapping[str, Any]) -> bool | None: ...
    def explain(self, values: Mapping[str, Any]) -> str: ...


class Rule:
    """The same duties as a Diagnoser, without a model: no confidence, no novelty, nothing learnt."""

    def __init__(self, loop: str, condition: Condition) -> None:
        self._loop, self._condition = loop, condition
        self.model, self.model_hash = MODEL, hashlib.sha256(condition.text.encode()).hexdigest()

    async def diagnose(self, window: Window) -> Diagnosis:
        """1 where the expression holds, 0 where it does not, no evidence where that is unknown."""
        holds = self._condition.truth(window.live)
        why = self._condition.explain(window.live)
        return Diagnosis(
            loop=self._loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="unknown" if holds is None else "ok",
            why=f"cannot be decided: {why}" if holds is None else why,
            score=None if holds is None else float(holds),
            model=self.model,
            model_hash=self.model_hash,
        )

    def reset(self) -> None:
        """Nothing is kept between windows."""

    def relearn(self) -> None:
        """Nothing is learnt."""

    def baseline(self) -> list[list[float]] | None:
        """None: a rule needs none."""
        return None

    def restore_baseline(self, saved: Sequence[Sequence[float]]) -> None:
        """ValueError: it can be nobody's here."""
        raise ValueError(f"loops.{self._loop}: a rule has no baseline")

    def status(self) -> dict[str, Any]:
        """For `edge-agent status`."""
        return {"drift": None, "rule": self._condition.text}
