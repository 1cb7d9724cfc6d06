"""Which picture shows which part? From the trigger to one picture of each camera, or the word that none came in time. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.messages import UNFIT, Part, Quality, Value
from edge_agent.perceive.belt import Belt
from edge_agent.perceive.channel import Channel

_NS = 1_000_000_000
_UNFIT = int(UNFIT | Quality.UNCERTAIN)
_GAP = int(Quality.GAP)
_NEVER = 1 << 63
_RECENT = 8  # pictures of each camera that a trigger may still ask for
_OPEN = 256  # parts under way
_REMEMBERED = 4096  # numbers of parts that were dealt with
_LEAP = 100  # more numbers than this are not skipped but counted from anew

Picture = tuple[int, NDArray[np.uint8] | None, int]
"""When it was taken, what it shows, its quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One camera's look at one part."""

    camera: int
    time_ns: int
    picture: NDArray[np.uint8] | None
    quality: int
    part: Part | None = None
    deadline_ns: int | None = None  # on our time axis
    why: str = ""  # why there is no picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """How a part travels. Either times after the trigger, or metres on a belt."""

    deadline_ns: int = 0
    delay_ns: int = 0
    within_ns: int = 0
    margin_ns: int = 0
    belt: Belt | None = None
    camera_m: float = 0.0
    gate_m: float = 0.0
    step: int = 1  # from one part's number to the next; 0: they tell nothing
    numbered: bool = True
    debounce_ns: int = 0


@dataclass(slots=True)
class _Way:
    """A part under way."""

    part: Part
    start_m: float
    open: set[int]  # cameras that have not shown it yet
    poor: dict[int, Picture] = field(default_factory=dict)  # the best there is of a camera whose pictures are no evidence
    why: str = ""  # it is lost: why
    lost_ns: int = 0


@dataclass(slots=True)
class Counts:
    """What came of the triggers."""

    triggers: int = 0
    double: int = 0
    missed: int = 0  # numbers that were skipped: parts that nobody announced
    out_of_order: int = 0
    bad: int = 0
    restarts: int = 0
    no_picture: int = 0
    crowded: int = 0


class Pictures:
    """No trigger: every picture is a look of its own."""

    prompt = False

    def __init__(self, channels: Sequence[Channel]) -> None:
        self.channels = channels
        self._done: list[Shot] = []

    @property
    def due_ns(self) -> int:
        return _NEVER

    @property
    def filled(self) -> tuple[int, int]:
        return 0, 1

    @property
    def counts(self) -> dict[str, int]:
        return {}

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None:
        self._done.append(Shot(camera=channel, time_ns=time_ns, picture=_shown(value), quality=quality))

    def due(self, now_ns: int) -> list[Shot]:
        done, self._done = self._done, []
        return done


class Parts:
    """A look of every camera for each part that the trigger announces. Channels: the cameras, the trigger, then the belt."""

    prompt = True  # `due` has to be asked in time, not only when something came

    def __init__(self, channels: Sequence[Channel], names: Sequence[str], track: Track) -> None:
        self.channels = channels
        self._names, self._track = tuple(names), track
        self._recent: list[deque[Picture]] = [deque(maxlen=_RECENT) for _ in names]
        self._ways: OrderedDict[int, _Way] = OrderedDict()
        self._past: OrderedDict[int, None] = OrderedDict()
        self._missing: OrderedDict[int, int] = OrderedDict()  # skipped number -> when it was found missing
        self._highest: int | None = None
        self._last_ns = -_NEVER
        self._was = False
        self._done: list[Shot] = []
        self._tally = Counts()

    @property
    def filled(self) -> tuple[int, int]:
        return len(self._ways), _OPEN

    @property
    def counts(self) -> dict[str, int]:
        return {name: getattr(self._tally, name) for name in Counts.__slots__}

    @property
    def due_ns(self) -> int:
        """When the next part is given up, or the next skipped number."""
        ways = (self._until(way) for way in self._ways.values())
        return min((*ways, *(at + self._track.within_ns for at in self._missing.values())), default=_NEVER)

    # ------------------------------------------------------------ what comes

    def push(self, channel: int, time_ns: int, value: Value, quality: int) -> None:
        if channel < len(self._names):
            self._seen(channel, (time_ns, _shown(value), quality))
        elif channel == len(self._names):
            self._triggered(time_ns, value, quality)
        elif self._track.belt is not None:
            self._moved(self._track.belt, time_ns, value, quality)

    def due(self, now_ns: int) -> list[Shot]:
        for number in [n for n, at in self._missing.items() if at + self._track.within_ns <= now_ns]:
            self._give_up_missing(number, now_ns)
        for way in [way for way in self._ways.values() if self._until(way) <= now_ns]:
            self._give_up(way, now_ns)
        done, self._done = self._done, []
        return done

    def _seen(self, camera: int, picture: Picture) -> None:
        self._recent[camera].append(picture)
        for way in list(self._ways.values()):
            self._offer(way, camera, picture)

    def _moved(self, belt: Belt, time_ns: int, value: Value, quality: int) -> None:
        number = float(value) if isinstance(value, int | float) and not quality & _UNFIT else None
        belt.take(time_ns, number)
        for way in self._ways.values():
            if number is None:
                way.why, way.lost_ns = "where it is cannot be told: the belt is not known", time_ns
        for way in list(self._ways.values()):
            for camera in sorted(way.open):
                for picture in self._recent[camera]:
                    self._offer(way, camera, picture)

    # ------------------------------------------------------------ triggers

    def _triggered(self, time_ns: int, value: Value, quality: int) -> None:
        number = self._number(time_ns, value, quality)
        if number is None:
            return
        self._tally.triggers += 1
        if number in self._ways or (number in self._past and number not in self._missing):
            self._tally.double += 1
            return
        if not self._in_order(number, time_ns):
            return
        self._begin(number, time_ns)

    def _number(self, time_ns: int, value: Value, quality: int) -> int | None:
        """The part's number; None where this is no trigger."""
        if quality & _UNFIT or value is None or isinstance(value, np.ndarray):
            self._tally.bad += 1
            return None
        if self._track.numbered:
            return self._whole(value)
        risen, self._was = bool(value) and not self._was if isinstance(value, bool) else True, bool(value)
        if not risen:
            return None
        if time_ns - self._last_ns < self._track.debounce_ns:
            self._tally.double += 1
            return None
        self._last_ns = time_ns
        return 1 if self._highest is None else self._highest + 1

    def _whole(self, value: float | str) -> int | None:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if number.is_integer() and 0 <= number < 1 << 53:
            return int(number)
        self._tally.bad += 1
        return None

    def _in_order(self, number: int, time_ns: int) -> bool:
        """Keep count; False for a part that was given up already."""
        step, highest = (self._track.step if self._track.numbered else 0), self._highest
        if highest is None or step == 0:
            self._highest = number
            return True
        if number < highest:
            if highest - number > _LEAP * step:
                self._restart(number)
                return True
            self._tally.out_of_order += 1
            return self._missing.pop(number, None) is not None or number not in self._past
        skipped = range(highest + step, number, step)
        if len(skipped) > _LEAP:
            self._restart(number)
            return True
        self._missing.update(dict.fromkeys(skipped, time_ns))
        self._highest = number
        return True

    def _restart(self, number: int) -> None:
        self._tally.restarts += 1
        self._missing.clear()
        self._past.clear()
        self._highest = number

    def _begin(self, number: int, time_ns: int) -> None:
        if len(self._ways) >= _OPEN:
            self._tally.crowded += 1
            self._give_up(next(iter(self._ways.values())), time_ns)
        belt = self._track.belt
        way = _Way(Part(number, time_ns, self._names), belt.position(time_ns) if belt else 0.0, set(range(len(self._names))))
        if belt is not None and not belt.known:
            way.why, way.lost_ns = "where it is cannot be told: the belt is not known", time_ns
        self._ways[number] = way
        for camera, recent in enumerate(self._recent):
            for picture in list(recent):
                self._offer(way, camera, picture)

    # ------------------------------------------------------------ one part

    def _moment(self, way: _Way) -> int | None:
        """When it is before the cameras."""
        if self._track.belt is not None:
            return self._track.belt.when(way.start_m + self._track.camera_m)
        return way.part.triggered_ns + self._track.delay_ns

    def _deadline(self, way: _Way) -> int | None:
        """When its verdict has to be out."""
        if self._track.belt is None:
            return way.part.triggered_ns + self._track.deadline_ns
        at_ns = self._track.belt.when(way.start_m + self._track.gate_m)
        return None if at_ns is None else at_ns - self._track.margin_ns

    def _until(self, way: _Way) -> int:
        if way.why:
            return way.lost_ns
        moment = self._moment(way)
        return _NEVER if moment is None else moment + self._track.within_ns

    def _offer(self, way: _Way, camera: int, picture: Picture) -> None:
        """Whether this picture of this camera shows the part: the first good one that was taken in its time."""
        moment = self._moment(way)
        if camera not in way.open or way.why or moment is None or not moment <= picture[0] <= moment + self._track.within_ns:
            return
        if picture[2] & _UNFIT or picture[1] is None:
            way.poor.setdefault(camera, picture)
            return
        self._show(way, camera, picture, "")

    def _show(self, way: _Way, camera: int, picture: Picture, why: str) -> None:
        time_ns, seen, quality = picture
        shot = Shot(camera=camera, time_ns=time_ns, picture=seen, quality=quality, part=way.part, deadline_ns=self._deadline(way), why=why)
        self._done.append(shot)
        way.open.discard(camera)
        if not way.open:
            self._ways.pop(way.part.number, None)
            self._remember(way.part.number)

    def _give_up(self, way: _Way, now_ns: int) -> None:
        self._tally.no_picture += len(way.open - way.poor.keys())
        for camera in sorted(way.open):
            why = way.why or f"no picture of part {way.part.number} within {self._track.within_ns / 1e6:g} ms"
            poor = way.poor.get(camera)
            self._show(way, camera, poor or (now_ns, None, _GAP), "" if poor else why)

    def _give_up_missing(self, number: int, now_ns: int) -> None:
        """A part that nobody announced: it gets its verdict all the same, and it is not seen."""
        at_ns = self._missing.pop(number)
        self._tally.missed += 1
        part = Part(number, at_ns, self._names)
        why = f"the trigger of part {number} was missed"
        self._done += [Shot(camera=c, time_ns=now_ns, picture=None, quality=_GAP, part=part, why=why) for c in range(len(self._names))]
        self._remember(number)

    def _remember(self, number: int) -> None:
        self._past[number] = None
        while len(self._past) > _REMEMBERED:
            self._past.popitem(last=False)


def _shown(value: Value) -> NDArray[np.uint8] | None:
    return value.view(np.uint8) if isinstance(value, np.ndarray) and value.dtype == np.uint8 else None
