"""Perceive: samples in, windows out, for all loops of an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_agent.messages import UNFIT, LinkState, Quality, Reading, Sample, Window
from edge_agent.perceive.intake import Intake
from edge_agent.perceive.parts import Parts, Pictures, Shot
from edge_agent.perceive.rows import Block, Cutter

_UNFIT = int(UNFIT | Quality.UNCERTAIN)
_NAMED = 6  # channels, in a reason
_HELD = int(Quality.HELD)


@dataclass(slots=True)
class View:
    """One loop's windows."""

    loop: str
    tags: tuple[str, ...]  # channels, in the model's order
    watched: tuple[str, ...]  # what the loop's expressions may name besides
    cutter: Cutter | Pictures | Parts
    extra: tuple[str, ...] = ()  # what the cutter takes besides the channels: a part's trigger, the belt
    seq: int = 0
    unfit: int = 0
    named: tuple[str, ...] = field(init=False)  # every tag it may look at

    def __post_init__(self) -> None:
        self.named = tuple(dict.fromkeys((*self.extra, *self.watched) if self.looks else (*self.tags, *self.watched)))

    @property
    def looks(self) -> bool:
        """Whether its windows are pictures; those are no values for expressions."""
        return isinstance(self.cutter, Pictures | Parts)


class Perceiver:
    """Feeds each sample to the loops that use it and cuts their windows. Pure: time comes with the samples and ticks."""

    def __init__(self, intake: Intake, views: Iterable[View] = ()) -> None:
        self.intake = intake
        self.views: dict[str, View] = {}
        self._routes: dict[str, list[tuple[View, int]]] = {}
        self._hurried = False  # whether any loop follows parts
        for view in views:
            self.add(view)

    def add(self, view: View) -> None:
        """Start cutting windows for a loop."""
        self.views[view.loop] = view
        self._hurried = self._hurried or isinstance(view.cutter, Parts)
        for i, tag in enumerate((*view.tags, *view.extra)):
            self._routes.setdefault(tag, []).append((view, i))

    def remove(self, loop: str) -> None:
        """Stop cutting windows for a loop."""
        self.views.pop(loop, None)
        self._routes = {t: kept for t, r in self._routes.items() if (kept := [e for e in r if e[0].loop != loop])}

    def take(self, batch: Sequence[Sample]) -> list[Window]:
        """Take samples, oldest first; the windows they completed."""
        touched: dict[str, View] = {}
        for sample in batch:
            checked = self.intake.take(sample)
            if checked is None:
                continue
            for view, channel in self._routes.get(sample.tag, ()):
                view.cutter.push(channel, *checked)
                touched[view.loop] = view
        return self._cut(touched.values(), batch[-1].mono_ns) if touched else []

    def link(self, state: LinkState) -> None:
        """A connector's link changed."""
        self.intake.links[state.connector] = state.state == "up"

    def alive(self, connector: str, mono_ns: int) -> None:
        """The device says that what it has not sent has not changed."""
        self.intake.alive_ns[connector] = mono_ns
        self.intake.links[connector] = True
        axis_ns = self.intake.axis_ns(mono_ns)
        for tag, routes in self._routes.items():
            if self.intake.tags[tag].rules.connector == connector:
                for view, channel in routes:
                    view.cutter.channels[channel].alive(axis_ns)

    def is_due(self, mono_ns: int) -> bool:
        """Whether `tick` has a window to look at."""
        now_ns = self.intake.axis_ns(mono_ns)
        return any(view.cutter.due_ns <= now_ns for view in self.views.values())

    def tick(self, mono_ns: int) -> list[Window]:
        """Cut what is due although nothing came."""
        now_ns = self.intake.axis_ns(mono_ns)
        due = [view for view in self.views.values() if view.cutter.due_ns <= now_ns]
        return self._cut(due, mono_ns) if due else []

    def patience_s(self, mono_ns: int) -> float:
        """Until the first part, if any is under way, has to be given up; what waits for a row can wait for the next tick."""
        hurried = [view.cutter.due_ns for view in self.views.values() if isinstance(view.cutter, Parts)] if self._hurried else []
        return max(0.0, (min(hurried) - self.intake.axis_ns(mono_ns)) / 1e9) if hurried else float("inf")

    def reading(self, tag: str, mono_ns: int) -> Reading:
        """The newest reading of any tag."""
        return self.intake.reading(tag, mono_ns)

    def _cut(self, views: Iterable[View], mono_ns: int) -> list[Window]:
        now_ns = self.intake.axis_ns(mono_ns)
        return [self._window(view, block, now_ns, mono_ns) for view in views for block in view.cutter.due(now_ns)]

    def _look(self, view: View, shot: Shot, now_ns: int, mono_ns: int) -> Window:
        """A camera's picture, or the word that there is none."""
        view.seq += 1
        camera = view.tags[shot.camera]
        bad = shot.quality & _UNFIT or shot.picture is None
        reasons = (shot.why or f"{camera}: {_flags(shot.quality)}",) if bad else ()
        view.unfit += bool(reasons)
        return Window(
            loop=view.loop,
            seq=view.seq,
            tags=(camera,),
            start_ns=shot.time_ns,
            end_ns=shot.time_ns,
            cut_ns=now_ns,
            mono_ns=mono_ns,
            values=np.empty((0, 0), np.uint8) if shot.picture is None else shot.picture,
            quality=np.array([[shot.quality]], np.uint16),
            live=self.live(view, mono_ns),
            fit=not reasons,
            reasons=reasons,
            part=shot.part,
            due_ns=None if shot.deadline_ns is None else mono_ns + shot.deadline_ns - now_ns,
        )

    def _window(self, view: View, block: Block | Shot, now_ns: int, mono_ns: int) -> Window:
        if isinstance(block, Shot):
            return self._look(view, block, now_ns, mono_ns)
        start_ns, end_ns, values, quality = block
        view.seq += 1
        reasons = _reasons(view.tags, quality) if np.bitwise_or.reduce(quality, axis=None) & _UNFIT else ()
        view.unfit += bool(reasons)
        return Window(
            loop=view.loop,
            seq=view.seq,
            tags=view.tags,
            start_ns=start_ns,
            end_ns=end_ns,
            cut_ns=now_ns,
            mono_ns=mono_ns,
            values=values,
            quality=quality,
            live=self.live(view, mono_ns),
            fit=not reasons,
            reasons=reasons,
        )

    def live(self, view: View, mono_ns: int) -> Mapping[str, Reading]:
        """Every tag the loop may look at, as it stands now."""
        reading = self.intake.reading
        return {tag: reading(tag, mono_ns) for tag in view.named}


def _reasons(tags: Sequence[str], quality: np.ndarray) -> tuple[str, ...]:
    """Why channels with a value that is neither fit nor bridged spoil the window; what has one cause is said once."""
    bad = ((quality & _UNFIT) != 0) & ((quality & _HELD) == 0)
    alike: dict[tuple[str, int], list[str]] = {}
    for i in np.flatnonzero(bad.any(axis=1)):
        flags = quality[i][bad[i]]
        alike.setdefault((_named(flags), len(flags)), []).append(tags[int(i)])
    return tuple(f"{_few(names)}: {why} in {count} of {quality.shape[1]} rows" for (why, count), names in alike.items())


def _named(flags: np.ndarray) -> str:
    return _flags(int(np.bitwise_or.reduce(flags)))


def _flags(quality: int) -> str:
    return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Quality(quality & _UNFIT)) or "no value"


def _few(names: Sequence[str]) -> str:
    """Each channel's own quality stands in the window; a person needs no list of fifty."""
    return ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
