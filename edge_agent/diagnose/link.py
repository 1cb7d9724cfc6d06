"""What does the model say of this window, and how far may that be trusted?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import model as config_model
from edge_agent.contracts import Head, Runtime
from edge_agent.diagnose import blame, picture, trust
from edge_agent.diagnose.baseline import Learner
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.card import Picture
from edge_agent.diagnose.drift import Watch
from edge_agent.diagnose.states import States
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, DiagnosisStatus, Window, changed

Scale = Mapping[str, tuple[float, float]]
"""tag -> (a, b): value in the role's unit = a * value in the tag's unit + b."""


class Diagnoser:
    """One loop's model: window in, diagnosis out. Keeps the smoothing and the baseline; both can be forgotten."""

    def __init__(
        self,
        loop: str,
        bundle: Bundle,
        head: Head,
        runtime: Runtime,
        config: config_model.Diagnose,
        *,
        tags: Sequence[str],
        scale: Scale,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        """`now_ns` is the monotonic clock that a window's `due_ns` is held against; unset in a replay, which knows no hurry."""
        card = bundle.card
        self._picture, self._now_ns = card.picture, now_ns
        self._loop, self._bundle, self._head, self._runtime, self._config = loop, bundle, head, runtime, config
        self._tags = _by_role(loop, bundle, config, tags)
        self._order = [list(tags).index(tag) for tag in self._tags]
        self._as_it_is = self._order == list(range(len(tags))) and all(scale.get(t, (1.0, 0.0)) == (1.0, 0.0) for t in self._tags)
        self._a = np.array([[scale.get(t, (1.0, 0.0))[0]] for t in self._tags], dtype=np.float32)
        self._b = np.array([[scale.get(t, (1.0, 0.0))[1]] for t in self._tags], dtype=np.float32)
        self._shape = (len(self._tags), card.window.rows)
        self._familiar = trust.Familiarity(card.envelope) if card.envelope else None
        self._median = trust.Median(config.smooth or (1 if card.picture else card.smoothing.median))
        named = card.graph.outputs
        self._states = States(card.labels, card.normal) if named.probabilities or named.logits else None
        self._novelty = _tighter(card.thresholds.novelty, config.trust.novelty, min)
        self._confidence = _tighter(card.thresholds.confidence, config.trust.confidence, max)
        self._raw_alarm = trust.uncalibrate(card.thresholds.alarm, card.calibration)
        self._learner = Learner(card.baseline) if card.baseline else None
        self._baseline: NDArray[np.float32] | None = None
        self._drift = self._watch()

    def _watch(self) -> Watch | None:
        card, config = self._bundle.card, self._config.drift
        return Watch(config, envelope=card.envelope, score=card.drift.score, tags=self._names("picture")) if config else None

    @property
    def model(self) -> str:
        """name@version."""
        return self._bundle.id

    @property
    def model_hash(self) -> str:
        """Of the graph that runs."""
        return self._bundle.model_hash

    @property
    def learns(self) -> bool:
        """Whether it needs a baseline of this very machine."""
        return self._learner is not None

    def reset(self) -> None:
        """Forget the smoothing: after a restart, a config or a model change, a change of mode."""
        self._median.clear()

    # ------------------------------------------------------------ the baseline

    def baseline(self) -> list[list[float]] | None:
        """What was learnt on site, [2][C], JSON-able; None while it is being learnt, or if the model needs none."""
        return None if self._baseline is None else [[float(v) for v in row] for row in self._baseline]

    def restore_baseline(self, saved: Sequence[Sequence[float]]) -> None:
        """Take up what `baseline` gave before. ValueError if it cannot be this model's."""
        found = np.array(saved, dtype=np.float32)
        if self._learner is None or found.shape != (2, self._shape[0]) or not np.isfinite(found).all() or (found[1] <= 0).any():
            raise ValueError(f"loops.{self._loop}: the saved baseline does not fit {self.model}; let it learn a new one")
        self._baseline = found

    def relearn(self) -> None:
        """Forget the baseline, and with it the smoothing: after the machine was overhauled."""
        self._baseline = None
        self._learner = Learner(self._bundle.card.baseline) if self._bundle.card.baseline else None
        self._drift = self._watch()
        self.reset()

    def status(self) -> dict[str, Any]:
        """For `edge-agent status`: what the drift watch goes by."""
        return {"drift": self._drift.status() if self._drift else None}

    # ------------------------------------------------------------ one window

    async def diagnose(self, window: Window) -> Diagnosis:
        """Never raises for anything that a window or a model can do: the status says it."""
        if not window.fit:
            return self.no("unknown", "; ".join(window.reasons) or "the window is not fit", window)
        if self._picture:
            return await self._look(window, self._picture)
        if window.values.shape != self._shape:
            return self.no("failed", f"a window of {window.values.shape}; {self.model} takes {self._shape}", window)
        seen = self._in_roles(window)
        if not np.isfinite(seen.values).all():
            bad = [t for t, row in zip(seen.tags, seen.values, strict=True) if not np.isfinite(row).all()]
            return self.no("unknown", f"{', '.join(bad)}: not finite", window)
        if self._learner and self._baseline is None:
            return self._learn(self._learner, seen)
        return await self._ask(seen)

    async def _look(self, window: Window, spec: Picture) -> Diagnosis:
        """A picture: fitted to the model, on another thread where OpenCV has to do it."""
        seen = window.values
        try:
            found = picture.fitted(seen, spec) if picture.fits(seen, spec) else await asyncio.to_thread(picture.fitted, seen, spec)
        except ValueError as e:
            return self.no("failed", str(e), window)
        return picture.placed(await self._ask(replace(window, values=found)), seen.shape, spec)

    async def _ask(self, seen: Window) -> Diagnosis:
        try:
            outputs = await self._in_time(self._head.feeds(seen), seen)
            raw = self._read(outputs, seen)
        except TimeoutError as e:
            return self.no("late", str(e), seen)
        except (RuntimeError, ValueError) as e:
            return self.no("failed", str(e), seen)
        judged = self._judge(raw, seen)
        if not judged.contributions and self._picture is None and self._alarming(judged):
            judged = replace(judged, contributions=await self._occlude(judged, seen))
        return judged

    def _read(self, outputs: Mapping[str, NDArray[Any]], seen: Window) -> Diagnosis:
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{self.model}: output {name} is not finite")
        found, named = self._head.read(outputs, seen), self._bundle.card.graph.outputs
        if named.novelty is not None:
            found = replace(found, novelty=float(outputs[named.novelty][0]))
        if named.map is None or found.heat is not None:
            return found
        return replace(found, heat=np.array(outputs[named.map][0], dtype=np.float32))  # a copy: the worker's memory is written again

    async def _in_time(self, feeds: dict[str, NDArray[Any]], seen: Window) -> dict[str, NDArray[Any]]:
        """No longer than the part can wait: the model itself may have its usual time, and is not ended for a part that is gone."""
        if seen.due_ns is None or self._now_ns is None:
            return await self._run(feeds)
        left_s = (seen.due_ns - self._now_ns()) / 1e9
        if left_s <= 0:
            raise TimeoutError(f"{self.model}: its turn came {-left_s:.3f} s after the part's deadline")
        try:
            async with asyncio.timeout(left_s) as patience:
                return await self._run(feeds)
        except TimeoutError as e:
            if patience.expired():
                raise TimeoutError(f"{self.model}: no answer within the {left_s:.3f} s that the part had left") from e
            raise

    async def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self._baseline is not None and self._bundle.card.graph.baseline:
            batch = next(iter(feeds.values())).shape[0]
            feeds[self._bundle.card.graph.baseline] = np.repeat(self._baseline[None], batch, axis=0)
        return await self._runtime.run(self._bundle.path, feeds, self._config.timeout)

    # ------------------------------------------------------------ before the model

    def _in_roles(self, window: Window) -> Window:
        """The window with its channels in the card's order and unit; the tags keep their own names."""
        if self._as_it_is:
            return window
        values = np.ascontiguousarray(window.values[self._order] * self._a + self._b)
        return replace(window, tags=self._tags, values=values, quality=window.quality[self._order])

    def _learn(self, learner: Learner, seen: Window) -> Diagnosis:
        learner.take(seen, seen.values)
        if learner.baseline is None:
            return self.no("unknown", f"learning baseline {learner.progress}", seen)
        self._baseline = learner.baseline
        return self.no("unknown", "learnt the baseline", seen)

    # ------------------------------------------------------------ after the model

    def _judge(self, raw: Diagnosis, seen: Window) -> Diagnosis:
        """Smoothing, calibration, then whether it is evidence."""
        labels = tuple(raw.probabilities)
        smooth = self._median.add(seen.seq, (0.0 if raw.raw is None else raw.raw, *raw.probabilities.values()))
        score = trust.calibrate(smooth[0], self._bundle.card.calibration)
        found: dict[str, Any] = {"score": score, "confidence": raw.confidence, "novelty": self._how_new(raw, seen)}
        if labels and self._states:
            shares = self._states.shares(np.array(smooth[1:]))
            label, confidence = self._states.named(shares)
            found |= {"label": label, "confidence": confidence, "probabilities": shares}
        elif raw.confidence is None and self._raw_alarm is not None:
            found["confidence"] = self._median.agreement(self._raw_alarm)
        status, why = self._verdict(found["novelty"], found["confidence"], seen)
        judged = changed(raw, status=status, why=why, model=self.model, model_hash=self._bundle.model_hash, **found)
        drifting = self._drifting(self._drift, judged, seen) if self._drift else ()
        return changed(judged, drifting=drifting) if drifting else judged

    def _drifting(self, watch: Watch, found: Diagnosis, seen: Window) -> tuple[str, ...]:
        """What drifts now. The window counts unless it is an alarm to be believed, or overlaps the last that counted."""
        if (found.status == "ok" and self._alarming(found)) or not watch.due(seen.start_ns, seen.end_ns):
            return watch.found
        scaled = self._familiar.scaled(self._channels(seen), self._baseline) if self._familiar else None
        return watch.take(seen.end_ns, found.raw, found.novelty, scaled)

    def _how_new(self, raw: Diagnosis, seen: Window) -> float | None:
        """The larger of what the envelope and what the graph itself says."""
        said = [raw.novelty, self._familiar.novelty(self._channels(seen), self._baseline) if self._familiar else None]
        return max((n for n in said if n is not None), default=None)

    def _channels(self, seen: Window) -> NDArray[Any]:
        return picture.planes(seen.values) if self._picture else seen.values

    def _verdict(self, novelty: float | None, confidence: float | None, seen: Window) -> tuple[DiagnosisStatus, str]:
        if self._novelty is not None and novelty is not None and novelty > self._novelty:
            why = (
                self._familiar.why(self._channels(seen), self._baseline, self._names(seen.tags[0]))
                if self._familiar
                else "unlike its training"
            )
            return "novel", f"novelty {novelty:.3f} above {self._novelty:g}: {why}"
        if self._confidence is not None and confidence is not None and confidence < self._confidence:
            return "unknown", f"confidence {confidence:.3f} below {self._confidence:g}"
        return "ok", ""

    def _names(self, camera: str) -> Sequence[str]:
        """Of the channels: the tags, or the colours of one of the cameras."""
        if self._picture is None:
            return self._tags
        return [f"{camera} {colour}" for colour in ("red", "green", "blue")] if self._picture.channels == 3 else [camera]

    def _alarming(self, found: Diagnosis) -> bool:
        limit = self._bundle.card.thresholds.alarm
        return limit is not None and found.score is not None and found.score >= limit

    async def _occlude(self, found: Diagnosis, seen: Window) -> blame.Shares:
        """Cover one channel after the other with its usual level: the more the score falls, the more it was this one."""
        if self._familiar is None or found.raw is None:
            return ()
        neutral = self._familiar.neutral
        if self._baseline is not None:
            neutral = neutral * self._baseline[1] + self._baseline[0]
        windows = blame.covered(seen.values, neutral)
        step = self._bundle.batch
        try:
            drops = [found.raw - r for i in range(0, len(windows), step) for r in await self._raws(windows[i : i + step], seen)]
        except (TimeoutError, RuntimeError, ValueError):
            return ()  # the answer stands without it; the runtime has counted the failure
        return blame.shares(np.array(drops), seen.tags)

    async def _raws(self, windows: NDArray[np.float32], seen: Window) -> list[float]:
        outputs = await self._run({self._bundle.card.graph.window: windows})
        each = ({name: array[i : i + 1] for name, array in outputs.items()} for i in range(len(windows)))
        return [self._read(one, seen).raw or 0.0 for one in each]

    def no(self, status: DiagnosisStatus, why: str, window: Window) -> Diagnosis:
        """No evidence of this window, and why."""
        return Diagnosis(
            loop=self._loop,
            window=window.seq,
            end_ns=window.end_ns,
            status=status,
            why=why,
            model=self.model,
            model_hash=self._bundle.model_hash,
        )


def _by_role(loop: str, bundle: Bundle, config: config_model.Diagnose, tags: Sequence[str]) -> tuple[str, ...]:
    """The loop's tags in the order of the card's roles; of a model of pictures, every camera it looks through. ModelRefused."""
    roles = [role.role for role in bundle.card.roles]
    if bundle.card.picture:
        return tuple(tags)
    if len(tags) != len(roles):
        raise ModelRefused(f"loops.{loop}.perceive.tags: {len(tags)} tags; {bundle.id} takes {len(roles)}: {', '.join(roles)}")
    if not config.roles:
        return tuple(tags)
    where = f"loops.{loop}.diagnose.roles"
    if set(config.roles) != set(roles):
        odd = sorted(set(config.roles) ^ set(roles))
        raise ModelRefused(f"{where}: {', '.join(odd)}: missing or unknown; {bundle.id} has the roles {', '.join(roles)}")
    found = tuple(config.roles[role] for role in roles)
    if sorted(found) != sorted(tags):
        raise ModelRefused(f"{where}: every tag of perceive.tags ({', '.join(tags)}) must have exactly one role")
    return found


def _tighter(card: float | None, config: float | None, choose: Any) -> float | None:
    """The stricter of the card's and the configuration's threshold: a site may tighten, never loosen."""
    given = [t for t in (card, config) if t is not None]
    return choose(given) if given else None
