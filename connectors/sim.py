"""What would a plant say that does not exist? Seeded signals with faults on demand, and tags that can be written and answer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from zlib import crc32

import numpy as np
from pydantic import Field, model_validator

from edge_agent.config.model import Tag as BaseTag
from edge_agent.config.model import TagName
from edge_agent.config.types import Duration, Model
from edge_agent.contracts import Reply, Setup, Sink, TagContract
from edge_agent.errors import PlantError
from edge_agent.messages import LinkState, Quality, Reading, Sample, Scalar, Value

Wave = Literal["constant", "sine", "square", "ramp", "noise", "walk"]


class Config(Model):
    """A plant made of signals: for first tries without any device."""

    type: Literal["sim"]
    every: Annotated[Duration, Field(gt=0, description="distance of the samples")] = 1.0
    seed: int = Field(default=0, description="same seed, same signals")


class Fault(Model):
    """Something goes wrong, counted from the start."""

    kind: Literal["stuck", "nan", "late", "gap", "bad"]
    after: Duration
    lasts: Duration | None = Field(default=None, description="unset: for ever")
    by: Duration = Field(default=5.0, description="how late, for kind: late")


class Answer(Model):
    """This signal follows a written tag, like a process does: value += gain x written, with a first-order lag."""

    tag: TagName
    gain: float = 1.0
    lag: Annotated[Duration, Field(ge=0)] = 0.0


class Tag(BaseTag):
    """One signal."""

    wave: Wave = "constant"
    mean: float = 0.0
    amplitude: float = 1.0
    period: Annotated[Duration, Field(gt=0)] = 60.0
    noise: Annotated[float, Field(ge=0, description="standard deviation")] = 0.0
    boolean: bool = Field(default=False, description="true while the signal is above its mean (constant: while it is not 0)")
    faults: list[Fault] = Field(default_factory=list)
    responds_to: Answer | None = None
    limits: tuple[float, float] | None = Field(default=None, description="what the make-believe device accepts, of a writable tag")

    @model_validator(mode="after")
    def _simple(self) -> Tag:
        if self.write and (self.wave != "constant" or self.responds_to or self.noise):
            raise ValueError("a writable tag holds what was written; take wave, noise and responds_to away")
        if self.limits is not None and not (self.write and self.limits[0] <= self.limits[1]):
            raise ValueError("limits: [low, high] belong to a tag with `write: true`, low first")
        return self


@dataclass(slots=True)
class _Signal:
    """The state of one signal."""

    tag: Tag
    random: np.random.Generator
    drift: float = 0.0  # of a walk
    answer: float = 0.0  # what has come through the lag
    held: Scalar | None = None  # written
    last: Value = None
    late: deque[tuple[float, Sample]] = field(default_factory=deque)


class Connector:
    """Makes a sample of every tag every `every`."""

    def __init__(self, config: Config, tags: Mapping[str, Tag], setup: Setup) -> None:
        self._config, self._setup = config, setup
        self._signals = {
            name: _Signal(tag, np.random.default_rng([config.seed & 0xFFFFFFFF, crc32(name.encode())])) for name, tag in tags.items()
        }
        self._ticks = 0
        self._running = False

    async def run(self, sink: Sink) -> None:
        clock, every = self._setup.clock, self._config.every
        sink.link(LinkState(connector=self._setup.name, state="up", reason="make-believe", mono_ns=clock.mono_ns()))
        start_ns = clock.mono_ns()
        self._running = True
        try:
            while True:
                sink.samples(self._tick(self._ticks * every))
                self._ticks += 1
                await clock.sleep(max(0.0, self._ticks * every - (clock.mono_ns() - start_ns) / 1e9))
        finally:
            self._running = False

    def status(self) -> Mapping[str, Any]:
        return {"link": "up" if self._running else "down", "reason": "make-believe", "ticks": self._ticks, "tags": {}}

    # ---- Writable

    async def describe(self, tag: str) -> TagContract:
        declared = self._signals[tag].tag
        low, high = declared.limits or (None, None)
        kind = "Boolean" if declared.boolean else "Double"
        return TagContract(type=kind, writable=declared.write, unit=declared.unit, low=low, high=high)

    async def read(self, tag: str) -> Reading:
        signal = self._signals[tag]
        value = self._held(signal) if signal.tag.write else signal.last
        if value is None:
            raise PlantError(f"{tag}: the simulation has no value yet")
        return Reading(value, Quality.GOOD, self._setup.clock.wall_ns(), 0.0)

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        declared = self._signals[tag].tag
        low, high = declared.limits or (-math.inf, math.inf)
        if not declared.write:
            return self._reply("refused", "BadNotWritable")
        if isinstance(value, str) or isinstance(value, bool) != declared.boolean:
            return self._reply("refused", "BadTypeMismatch")
        if not math.isfinite(value) or not low <= value <= high:
            return self._reply("refused", "BadOutOfRange")
        self._signals[tag].held = value
        return self._reply("good", "Good")

    async def call(self, tag: str, arguments: Sequence[Scalar], timeout_s: float) -> Reply:
        return self._reply("refused", "the simulation has no methods")

    def _reply(self, status: Literal["good", "refused"], code: str) -> Reply:
        return Reply(status=status, code=code, at_mono_ns=self._setup.clock.mono_ns())

    # ---- signals

    def _tick(self, t_s: float) -> list[Sample]:
        clock = self._setup.clock
        wall_ns, mono_ns = clock.wall_ns(), clock.mono_ns()
        samples: list[Sample] = []
        for name, signal in self._signals.items():
            value, quality = self._value(signal, t_s), int(Quality.GOOD)
            fault = next((f for f in signal.tag.faults if f.after <= t_s < f.after + (math.inf if f.lasts is None else f.lasts)), None)
            if fault is not None and fault.kind == "stuck":
                value = signal.last
            signal.last = value
            if fault is not None and fault.kind == "nan":
                value, quality = None, int(Quality.NOT_FINITE)
            if fault is not None and fault.kind == "bad":
                quality = int(Quality.BAD)
            if fault is not None and fault.kind == "late":
                signal.late.append((t_s + fault.by, Sample(name, value, quality, wall_ns, 0, 0)))
            elif fault is None or fault.kind != "gap":
                samples.append(Sample(name, value, quality, wall_ns, wall_ns, mono_ns))
            while signal.late and signal.late[0][0] <= t_s:
                samples.append(signal.late.popleft()[1]._replace(received_ns=wall_ns, mono_ns=mono_ns))
        return samples

    def _value(self, signal: _Signal, t_s: float) -> Value:
        tag = signal.tag
        if tag.write:
            return self._held(signal)
        raw = tag.mean + self._wave(signal, t_s) + self._answered(signal)
        if tag.noise:
            raw += tag.noise * float(signal.random.standard_normal())
        return raw > (0.0 if tag.wave == "constant" else tag.mean) if tag.boolean else raw

    def _wave(self, signal: _Signal, t_s: float) -> float:
        tag = signal.tag
        phase = t_s / tag.period % 1.0
        match tag.wave:
            case "constant":
                return 0.0
            case "sine":
                return tag.amplitude * math.sin(2 * math.pi * phase)
            case "square":
                return tag.amplitude if phase < 0.5 else -tag.amplitude
            case "ramp":
                return tag.amplitude * (2 * phase - 1)
            case "noise":
                return tag.amplitude * float(signal.random.standard_normal())
            case "walk":  # spreads by one amplitude in a period
                signal.drift += tag.amplitude * math.sqrt(self._config.every / tag.period) * float(signal.random.standard_normal())
                return signal.drift

    def _answered(self, signal: _Signal) -> float:
        wanted = signal.tag.responds_to
        if wanted is None or wanted.tag not in self._signals:
            return 0.0
        target = wanted.gain * float(self._held(self._signals[wanted.tag]))
        share = 1.0 if wanted.lag <= 0 else 1 - math.exp(-self._config.every / wanted.lag)
        signal.answer += (target - signal.answer) * share
        return signal.answer

    def _held(self, signal: _Signal) -> float | bool:
        if isinstance(signal.held, int | float):
            return signal.held
        return bool(signal.tag.mean) if signal.tag.boolean else signal.tag.mean
