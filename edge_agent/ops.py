"""What may a person ask of the running agent, over its control socket? Every wish is checked here again, and goes on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_agent import control
from edge_agent.agent import Agent, Live
from edge_agent.config.types import Duration
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback import handlers as feedback
from edge_agent.messages import Mode

Request = Mapping[str, Any]
Reply = Mapping[str, Any]

_LONGEST = 500  # characters of a reason


class Ops:
    """The agent's handlers."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def handlers(self) -> dict[str, control.Handler]:
        """Request name -> what answers it."""
        return {
            "status": self.status,
            "arm": self.arm,
            "disarm": self.disarm,
            "stop": self.stop,
            "reset": self.reset,
            "approve": self.approve,
            "relearn": self.relearn,
            "label": self.label,
        }

    async def status(self, request: Request) -> Reply:
        """Everything."""
        return self._agent.page()

    async def arm(self, request: Request) -> Reply:
        """Pre-arm checks, then armed."""
        live, by, reason = self._live(request), _text(request, "by"), _text(request, "reason")
        for_s = _duration(request.get("for", "8h"))
        async with live.runner.between_turns():
            if live.runner.ending:
                raise EdgeAgentError(f"{request['loop']} ends just now ({live.runner.ending}); nothing is armed")
            against = await live.executor.arm(by=by, reason=reason, for_s=for_s)
        if against:
            why = "\n".join(f"  {f.guard}: {f.why}" for f in against)
            raise EdgeAgentError(f"{request['loop']} is not armed, it stays in {live.modes.mode}:\n{why}")
        return self._mode(request)

    async def disarm(self, request: Request) -> Reply:
        """Shed, then observe."""
        live = self._live(request)
        async with live.runner.between_turns():
            no = await live.executor.lower(Mode.OBSERVE, by=_text(request, "by"), reason=_text(request, "reason", "disarmed"))
        await live.standing.forget()
        if no:
            raise EdgeAgentError(no)
        return self._mode(request)

    async def stop(self, request: Request) -> Reply:
        """No loop writes any more, at once; waits for nobody."""
        by, reason = _text(request, "by"), _text(request, "reason", "stopped")
        loops = dict(self._agent.loops)
        await asyncio.gather(*(live.executor.stop(by=by, reason=reason) for live in loops.values()))
        await asyncio.gather(*(live.standing.forget() for live in loops.values()))
        return {"loops": {name: live.modes.mode.value for name, live in loops.items()}}

    async def reset(self, request: Request) -> Reply:
        """A person has looked into a lockout."""
        live = self._live(request)
        async with live.runner.between_turns():
            no = await live.executor.reset(by=_text(request, "by"), reason=_text(request, "reason"))
        if no:
            raise EdgeAgentError(no)
        return self._mode(request)

    async def approve(self, request: Request) -> Reply:
        """Tier 2: a person says yes to the value that waits, once."""
        live, tag, by = self._live(request), _text(request, "tag"), _text(request, "by")
        waiting = live.executor.status()["tags"].get(tag, {}).get("waits_for_approval")
        if waiting is None or waiting != request.get("value"):
            raise EdgeAgentError(
                f"{request['loop']}: {request.get('value')!r} does not wait for approval on {tag}; what waits is {waiting!r}"
            )
        await self._agent.ledger.append("operator", {"event": "approved", "tag": tag, "value": waiting, "by": by}, loop=request["loop"])
        approval = live.modes.approve(tag, waiting, self._agent.clock.mono_ns(), by=by)
        return {"loop": request["loop"], "tag": tag, "value": approval.value}

    async def relearn(self, request: Request) -> Reply:
        """Forget the baseline: after the machine was overhauled."""
        live, by = self._live(request), _text(request, "by")
        if live.modes.mode in (Mode.ARMED, Mode.HOLD, Mode.SHED):
            raise EdgeAgentError(f"{request['loop']} is {live.modes.mode}; disarm it before it learns a new baseline")
        await self._agent.ledger.append("operator", {"event": "relearn", "by": by}, loop=request["loop"])
        await self._agent.relearn(request["loop"])
        return self._mode(request)

    async def label(self, request: Request) -> Reply:
        """Somebody says what was true."""
        return await feedback.label(self._agent.ledger, request)

    def _live(self, request: Request) -> Live:
        name = request.get("loop")
        live = self._agent.loops.get(name) if isinstance(name, str) else None
        if live is not None:
            return live
        why = self._agent.refused.get(str(name))
        there = ", ".join(self._agent.loops) or "none"
        raise EdgeAgentError(f"loop {name} does not run: {why}" if why else f"no loop is called {name!r}; there are: {there}")

    def _mode(self, request: Request) -> Reply:
        live = self._live(request)
        status = self._agent.page()["loops"][request["loop"]]
        return {"loop": request["loop"], "mode": live.modes.mode.value, "until": status["until"], "why": live.modes.reason}


def _text(request: Request, name: str, default: str | None = None) -> str:
    value = request.get(name) or default
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise EdgeAgentError(f"`{name}` is missing or too long; give a text of at most {_LONGEST} characters")
    return value.strip()


def _duration(value: Any) -> float:
    try:
        return TypeAdapter(Duration).validate_python(value)
    except ValidationError as e:
        raise EdgeAgentError(f"`for`: {e.errors()[0]['msg'].removeprefix('Value error, ')}") from e
