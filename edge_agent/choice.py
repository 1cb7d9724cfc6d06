"""Which of the configured models serves a loop: the one that is asked for, several that vote, or what stands in for a missing one?"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from edge_agent import app
from edge_agent.config.load import Configuration
from edge_agent.config.model import Diagnose, Fallback, Member
from edge_agent.contracts import Asked
from edge_agent.decide import expressions
from edge_agent.decide.vocabulary import vocabulary
from edge_agent.diagnose.bundle import Bundle, looks
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.panel import Panel
from edge_agent.diagnose.rule import Rule
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.execute.terms import ModelTerms

_log = logging.getLogger(__name__)
Clock = Callable[[], int] | None


class _Serves(NamedTuple):
    model: str
    diagnoser: Diagnoser
    bundle: Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What diagnoses a loop. `refused`: what was asked for and does not serve, and why. Without bundles it is a rule."""

    diagnoser: Asked
    bundles: tuple[Bundle, ...] = ()
    asked: tuple[str, ...] = ()  # how the configuration names each of them
    fallback: bool
    refused: tuple[str, ...] = ()
    looked: tuple[object, ...] = ()  # how the folders of all that was asked for looked from outside

    @property
    def version(self) -> tuple[int, ...]:
        """Of the first bundle: what may not be older than what was armed last."""
        return app.version(self.bundles[0]) if self.bundles else ()

    @property
    def digest(self) -> str:
        """The whole bundles, as one hash: what a person arms."""
        return self.bundles[0].hash if len(self.bundles) == 1 else hashlib.sha256(self._hashes().encode()).hexdigest()

    def _hashes(self) -> str:
        return "\n".join((self.diagnoser.model_hash, *(b.hash for b in self.bundles)))

    def admitted(self) -> dict[str, Any]:
        """For the ledger."""
        signers = sorted({b.signed_by or "" for b in self.bundles})
        said = {"event": "admitted", "model": self.diagnoser.model, "hash": self.digest, "signed_by": ", ".join(signers) or None}
        return said | ({"fallback": self.fallback, "refused": list(self.refused)} if self.refused else {})

    def status(self) -> dict[str, Any]:
        """For `edge-agent status`."""
        return {**self.diagnoser.status(), "fallback": self.fallback, "refused": list(self.refused)}


async def choose(configuration: Configuration, name: str, runtime: app.LoadingRuntime, now_ns: Clock = None) -> Choice:
    """The first of these that serves: the model with those that vote beside it, then each fall-back. ModelRefused if none does."""
    config = configuration.file.loops[name].diagnose
    refused: list[str] = []
    looked = _looked(configuration, name)
    panel = await _members(configuration, name, [config, *config.also], runtime, now_ns, refused)
    if len(panel) >= _quorum(config):
        made = panel[0].diagnoser if not config.also else Panel([s.diagnoser for s in panel], vote=config.vote, quorum=_quorum(config))
        return Choice(diagnoser=made, fallback=False, refused=tuple(refused), looked=looked, **_of(panel))
    for number, stand_in in enumerate(config.fallback):
        found = await _stand_in(configuration, name, stand_in, runtime, now_ns, refused)
        if found is not None:
            _log.warning("loop %s runs on its fall-back %d: %s", name, number + 1, "; ".join(refused))
            return replace(found, refused=tuple(refused), looked=looked)
    raise ModelRefused("\n".join(refused))


async def _members(
    configuration: Configuration, name: str, members: Sequence[Diagnose | Member], runtime: Any, now_ns: Clock, refused: list[str]
) -> list[_Serves]:
    """Those that serve; why the others do not is added to `refused`."""
    found = []
    for member in members:
        try:
            found.append(_Serves(member.model, *await app.diagnoser(configuration, name, runtime, now_ns, member=member)))
        except EdgeAgentError as e:
            refused.append(str(e))
    return found


async def _stand_in(
    configuration: Configuration, name: str, said: Fallback, runtime: Any, now_ns: Clock, refused: list[str]
) -> Choice | None:
    if said.rule is not None:
        condition = expressions.compile(said.rule, vocabulary(configuration.tags), want="truth")
        return Choice(diagnoser=Rule(name, condition), fallback=True)
    found = await _members(configuration, name, [Member(model=said.model or "", roles=said.roles)], runtime, now_ns, refused)
    return Choice(diagnoser=found[0].diagnoser, fallback=True, **_of(found)) if found else None


def _of(serving: Sequence[_Serves]) -> dict[str, Any]:
    return {"bundles": tuple(s.bundle for s in serving), "asked": tuple(s.model for s in serving)}


def _quorum(config: Diagnose) -> int:
    """How many must serve, and must have evidence: unless it is said, more than half."""
    return config.quorum or (1 + len(config.also)) // 2 + 1


def replaced(configuration: Configuration, name: str, running: Choice) -> bool:
    """Whether another bundle now lies where one of the running ones comes from, or something changed where one was refused."""
    if running.refused and _looked(configuration, name) != running.looked:
        return True
    return any(app.replaced(configuration, name, bundle, model) for model, bundle in zip(running.asked, running.bundles, strict=True))


def _looked(configuration: Configuration, name: str) -> tuple[object, ...]:
    return tuple(_folder(configuration, name, model) for model in _asked(configuration, name))


def _asked(configuration: Configuration, name: str) -> list[str]:
    """Every model that the loop names."""
    config = configuration.file.loops[name].diagnose
    return [config.model, *(m.model for m in config.also), *(m.model for m in config.fallback if m.model)]


def _folder(configuration: Configuration, name: str, model: str) -> object:
    try:
        return looks(app.bundle_path(configuration, name, model))
    except ModelRefused:
        return None


def terms(configuration: Configuration, name: str, chosen: Choice, armed_version: tuple[int, ...]) -> ModelTerms:
    """What the gate may believe: of several models what the most careful of them allows; of a rule nothing, so it never writes."""
    each = [app.terms(configuration, name, bundle, armed_version) for bundle in chosen.bundles]
    if not each:
        return ModelTerms(name=chosen.diagnoser.model, hash=chosen.diagnoser.model_hash, verified=False, tier=0)
    return replace(
        each[0],
        name=chosen.diagnoser.model,
        hash=chosen.diagnoser.model_hash,
        verified=all(t.verified for t in each),
        tier=min(t.tier for t in each),
        score=(None, None) if any(t.score == (None, None) for t in each) else each[0].score,
        min_confidence=max((t.min_confidence for t in each if t.min_confidence is not None), default=None),
        max_novelty=min((t.max_novelty for t in each if t.max_novelty is not None), default=None),
    )
