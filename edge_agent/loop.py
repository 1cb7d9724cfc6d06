"""THE LOOP: perceive, diagnose, decide, execute, feed back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_agent.contracts import Situation
from edge_agent.messages import Decision, Diagnosis, Outcome, Scalar, Window
from edge_agent.windows import Windows


class Diagnose(Protocol):
    async def diagnose(self, window: Window) -> Diagnosis: ...
    def restore_baseline(self, saved: Sequence[Sequence[float]]) -> None: ...
    def relearn(self) -> None: ...


class Decide(Protocol):
    def decide(self, situation: Situation) -> Decision: ...


class Execute(Protocol):
    @property
    def applied(self) -> Mapping[str, Scalar | None]: ...
    @property
    def armed(self) -> bool: ...
    async def act(self, decision: Decision, diagnosis: Diagnosis, window: Window) -> tuple[Outcome, ...]: ...
    async def tick(self) -> tuple[Outcome, ...]: ...


class Feedback(Protocol):
    async def record(self, window: Window, diagnosis: Diagnosis, decision: Decision, outcomes: tuple[Outcome, ...]) -> None: ...
    def late(self, outcomes: Sequence[Outcome]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the loop, for those who watch: status, recorder, metrics."""

    situation: Situation
    decision: Decision
    outcomes: tuple[Outcome, ...]

    @property
    def window(self) -> Window:
        return self.situation.window

    @property
    def diagnosis(self) -> Diagnosis:
        return self.situation.diagnosis


@dataclass(slots=True)
class Loop:
    """The five links of one loop, in order. `watch` sees each turn; it must not raise and not wait."""

    name: str
    perceive: Windows
    diagnose: Diagnose
    decide: Decide
    execute: Execute
    feedback: Feedback
    watch: Callable[[Turn], None]

    async def look(self) -> tuple[Outcome, ...]:
        """Look after what is under way, whether windows come or not. What came of that."""
        late = await self.execute.tick()
        self.feedback.late(late)
        return late

    async def turn(self, window: Window) -> Turn:
        """From a window to outcomes on record."""
        diagnosis = await self.diagnose.diagnose(window)
        situation = Situation(window=window, diagnosis=diagnosis, applied=dict(self.execute.applied), armed=self.execute.armed)
        decision = self.decide.decide(situation)
        outcomes = await self.execute.act(decision, diagnosis, window)
        turn = Turn(situation=situation, decision=decision, outcomes=outcomes)
        self.watch(turn)
        await self.feedback.record(window, diagnosis, decision, outcomes)
        return turn
