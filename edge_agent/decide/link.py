"""Decide: the link between a diagnosis and what is to be done. Numbers the decisions of one loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.contracts import Policy, Situation
from edge_agent.messages import Decision, changed


class Decider:
    """One loop's policy, with its decisions in a dense order from 1."""

    def __init__(self, policy: Policy, loop: str) -> None:
        self.policy, self.loop = policy, loop
        self._seq = 0

    def decide(self, situation: Situation) -> Decision:
        """What the policy makes of the situation."""
        decision = self.policy.step(situation)
        self._seq += 1
        return changed(decision, loop=self.loop, seq=self._seq)

    def reset(self) -> None:
        """Forget dwell, state and integrals; the numbers go on."""
        self.policy.reset()

    def status(self) -> Mapping[str, Any]:
        """What the policy counts, for `edge-agent status`; empty where it counts nothing."""
        told = getattr(self.policy, "status", None)
        return told() if told is not None else {}

    @property
    def writes(self) -> frozenset[str]:
        """Every tag it could ever propose to write."""
        return self.policy.writes
