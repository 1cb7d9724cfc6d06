"""Policy `gate`: one verdict for each part, from the looks of all its cameras: pass, divert or hold.

    {policy: gate, output: gate, accept: "score < 0.2", reject: "score > 0.6", votes: any, safe: divert}

A look that neither accepts nor rejects, that is late, novel or missing is unsure. `votes: any`: one camera that rejects diverts the
part, and all must accept to pass it; `majority`: what more than half of them say. Otherwise the part goes the safe way, and why is counted.
The verdict leaves with the part's number. Without evidence (late, unseen, unsure of itself) nothing leaves: the gate's own rest position,
what the PLC does with a part of which it heard nothing in time, must be the safe way.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from edge_agent.config.model import TagName
from edge_agent.config.types import Model
from edge_agent.contracts import Situation
from edge_agent.decide.assembly import Assembly, Path
from edge_agent.decide.vocabulary import values, vocabulary
from edge_agent.messages import Decision, Diagnosis, Part, Proposal, Window

Verdict = Literal["pass", "divert", "hold"]
_WORD = 4  # a word is the part's number times this, plus the code
_LONGEST = 9_007_199_254_740_992 // 8  # a number whose word a float still holds exactly
_OPEN = 256  # parts of which not every camera has looked yet
_REMEMBERED = 4096


class Codes(Model):
    """The verdicts as the PLC knows them."""

    pass_: int = Field(default=0, alias="pass", ge=0, lt=_WORD)
    divert: int = Field(default=1, ge=0, lt=_WORD)
    hold: int = Field(default=2, ge=0, lt=_WORD)


class Config(Model):
    """One verdict for each part that the cameras look at."""

    policy: Literal["gate"]
    output: TagName = Field(description="where the verdict goes")
    as_: Literal["call", "word"] = Field(
        default="call", alias="as", description="call: (part, code), answered for each part; word: one number, 4 x part + code, read back"
    )
    accept: str = Field(description="expression: this look lets the part pass, like 'score < 0.2'")
    reject: str = Field(description="expression: this look diverts the part, like 'score > 0.6'")
    votes: Literal["any", "majority"] = Field(default="any", description="how several cameras agree")
    safe: Verdict = Field(default="divert", description="the way of a part that nobody is sure of; must be what the PLC does by itself")
    codes: Codes = Codes()


def expressions(config: Config) -> list[tuple[Path, str]]:
    """Every expression with its path."""
    return [(("accept",), config.accept), (("reject",), config.reject)]


@dataclass(slots=True)
class _Looks:
    """What the cameras have said of one part."""

    accepting: set[str] = field(default_factory=set)
    rejecting: set[str] = field(default_factory=set)
    unsure: dict[str, str] = field(default_factory=dict)  # camera -> late, unseen or unsure
    words: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.accepting) + len(self.rejecting) + len(self.unsure)


class Policy:
    """Collects looks, part by part."""

    def __init__(self, config: Config, *, loop: str, tags: Collection[str], writable: Collection[str]) -> None:
        self._loop, self._config = loop, config
        assembly = Assembly(vocabulary(tags, states=("looking", "pass", "divert", "hold")), writable)
        assembly.writes(("output",), config.output)
        self._accept = assembly.expression(("accept",), config.accept, "truth")
        self._reject = assembly.expression(("reject",), config.reject, "truth")
        if len(set(config.codes.model_dump().values())) < 3:
            assembly.wrong(("codes",), "two verdicts have the same code; give each its own")
        assembly.finish()
        self.reset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset((self._config.output,))

    def reset(self) -> None:
        self._open: OrderedDict[int, _Looks] = OrderedDict()
        self._judged: OrderedDict[int, Verdict] = OrderedDict()
        self._state = "looking"
        self._tally: Counter[str] = Counter()

    def status(self) -> Mapping[str, Any]:
        """What became of the parts."""
        return {"open": len(self._open), **{name: self._tally[name] for name in _COUNTED}}

    def step(self, situation: Situation) -> Decision:
        window = situation.window
        part = window.part or Part(window.seq, window.end_ns, window.tags[:1])
        previous, evidence = self._state, situation.diagnosis.status == "ok"
        if part.number in self._judged:
            self._tally["after_verdict"] += 1
            return self._said(window, previous, "looking", f"part {part.number}: {self._judged[part.number]} already", unknown=not evidence)
        looks = self._look(part, situation)
        verdict, cause = self._judge(looks, max(1, len(part.views)))
        if verdict is None:
            return self._said(window, previous, "looking", f"part {part.number}: {'; '.join(looks.words)}", unknown=not evidence)
        self._close(part.number, verdict, cause)
        reason = f"part {part.number}: {verdict}{f', the safe way ({cause})' if cause else ''}: {'; '.join(looks.words)}"
        proposals = (self._proposal(part.number, verdict, reason),) if evidence and part.number < _LONGEST else ()
        return self._said(window, previous, verdict, reason, unknown=not evidence, proposals=proposals)

    # ------------------------------------------------------------ looks

    def _look(self, part: Part, situation: Situation) -> _Looks:
        looks = self._open.setdefault(part.number, _Looks())
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)
            self._tally["forgotten"] += 1
        camera, said = next(iter(situation.window.tags), "look"), situation.diagnosis
        known = values(situation, state=self._state, elapsed_s=0.0)
        rejects, accepts = self._reject.truth(known), self._accept.truth(known)
        if said.status != "ok":
            looks.unsure[camera] = _cause(said, situation.window)
            looks.words.append(f"{camera} {said.status}{f': {said.why}' if said.why else ''}")
        elif rejects is True:
            looks.rejecting.add(camera)
            looks.words.append(f"{camera}: {self._reject.explain(known)}")
        elif accepts is True and rejects is False:
            looks.accepting.add(camera)
            looks.words.append(f"{camera}: {self._accept.explain(known)}")
        else:
            looks.unsure[camera] = "unsure"
            looks.words.append(f"{camera}: neither {self._accept.explain(known)} nor {self._reject.explain(known)}")
        return looks

    def _judge(self, looks: _Looks, cameras: int) -> tuple[Verdict | None, str]:
        """The verdict, and why it is the safe way where it is; None while it is not decided."""
        need = 1 if self._config.votes == "any" else cameras // 2 + 1
        if len(looks.rejecting) >= need:
            return "divert", ""
        if len(looks.accepting) >= (cameras if self._config.votes == "any" else need):
            return "pass", ""
        if looks.count < cameras:
            return None, ""
        causes = set(looks.unsure.values())
        return self._config.safe, next((cause for cause in ("unseen", "late", "unsure") if cause in causes), "split")

    def _close(self, number: int, verdict: Verdict, cause: str) -> None:
        self._open.pop(number, None)
        self._judged[number] = verdict
        while len(self._judged) > _REMEMBERED:
            self._judged.popitem(last=False)
        self._tally[verdict] += 1
        if cause:
            self._tally[cause] += 1

    # ------------------------------------------------------------ words

    def _proposal(self, number: int, verdict: Verdict, reason: str) -> Proposal:
        code = {"pass": self._config.codes.pass_, "divert": self._config.codes.divert, "hold": self._config.codes.hold}[verdict]
        if self._config.as_ == "call":
            return Proposal("call", self._config.output, (number, code), reason)
        return Proposal("set", self._config.output, float(number * _WORD + code), reason)

    def _said(
        self, window: Window, previous: str, state: str, reason: str, *, unknown: bool, proposals: tuple[Proposal, ...] = ()
    ) -> Decision:  # fmt: skip
        self._state = state
        return Decision(
            loop=self._loop,
            seq=window.seq,
            window=window.seq,
            end_ns=window.end_ns,
            state=state,
            previous=previous,
            proposals=proposals,
            reason=reason,
            unknown=unknown,
        )


_COUNTED = ("pass", "divert", "hold", "late", "unseen", "unsure", "split", "after_verdict", "forgotten")


def _cause(said: Diagnosis, window: Window) -> str:
    if said.status == "late":
        return "late"
    return "unseen" if not window.fit else "unsure"
