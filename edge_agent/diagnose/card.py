"""What does a model's card say? Its shape, checked by itself; whether files and graph keep the promise is bundle.py's question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from edge_agent.config import tree, yaml
from edge_agent.config.explain import explain
from edge_agent.config.model import Name, TagName
from edge_agent.config.types import Duration, Model, Share
from edge_agent.errors import ModelRefused

MAX_BYTES = 1 << 20  # of card.yaml
Text = Annotated[str, Field(max_length=4096)]


class Role(Model):
    """One channel of the window: what it measures, in which unit, and what a sensor of that role can show."""

    role: TagName
    unit: Annotated[str, Field(max_length=32)] | None = None
    range: tuple[float, float] | None = None


class Picture(Model):
    """The input is a picture: float32 [N, C, H, W], values 0..255 as the camera gave them; all scaling lives in the graph."""

    height: Annotated[int, Field(ge=8, le=4096)]
    width: Annotated[int, Field(ge=8, le=4096)]
    colour: Literal["grey", "rgb"] = "grey"
    fit: Literal["stretch", "crop", "letterbox"] = Field(default="stretch", description="how a picture of another size becomes H x W")
    map: tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]] | None = Field(
        default=None, description="height and width of the heat map, where the graph gives one"
    )
    boxes: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, description="most boxes, where the graph gives some")
    keep: Literal["png", "jpeg"] = Field(default="png", description="how pictures lie in the ledger: lossless, or as JPEG of quality 95")

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.colour == "grey" else 3


class Span(Model):
    """The window: `rows` rows, `every` apart (unset: one row per event)."""

    rows: Annotated[int, Field(ge=1, le=1_000_000)]
    every: Duration | None = None


class Outputs(Model):
    """Names of the graph's outputs; N windows, C channels, K labels."""

    score: Text | None = Field(default=None, description="[N]")
    t2: Text | None = Field(default=None, description="[N], Hotelling's T2 in units of its limit: usual directions, unusually far")
    q: Text | None = Field(default=None, description="[N], squared prediction error in units of its limit: relations that no longer hold")
    contributions: Text | None = Field(default=None, description="[N, C], not negative")
    logits: Text | None = Field(default=None, description="[N, K]")
    probabilities: Text | None = Field(default=None, description="[N, K]")
    value: Text | None = Field(default=None, description="[N]")
    low: Text | None = Field(default=None, description="[N], lower end of the value's interval")
    high: Text | None = Field(default=None, description="[N], upper end of the value's interval")
    novelty: Text | None = Field(
        default=None, description="[N], 0..1: how far from the training data; the larger of this and the envelope's counts"
    )
    map: Text | None = Field(default=None, description="[N, h, w], higher is more to blame; of pictures")
    boxes: Text | None = Field(default=None, description="[N, M, 4]: x0, y0, x1, y1 in pixels of the input; of pictures")
    box_scores: Text | None = Field(default=None, description="[N, M], 0..1")
    box_classes: Text | None = Field(default=None, description="[N, M], index of the label")


class Graph(Model):
    """Names in the graph. The window is float32 [N, C, W] in the roles' units: all scaling lives in the graph."""

    window: Text = "window"
    baseline: Text | None = Field(default=None, description="float32 [N, 2, C]: centre and scale of each channel, learnt on site")
    outputs: Outputs


class Baseline(Model):
    """How the agent learns what is normal on this very machine: from the first `rows` good rows."""

    rows: Annotated[int, Field(ge=2, le=1_000_000)]
    centre: Literal["median", "mean"] = "median"
    scale: Literal["mad", "std"] = "mad"
    floor: tuple[Annotated[float, Field(gt=0)], ...] = Field(description="smallest scale of each channel")


class Calibration(Model):
    """Raw score to 0..1: straight lines between these points, level beyond them."""

    raw: Annotated[tuple[float, ...], Field(min_length=2, max_length=1000)]
    score: Annotated[tuple[float, ...], Field(min_length=2, max_length=1000)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.raw) != len(self.score):
            raise ValueError(f"{len(self.raw)} raw points but {len(self.score)} scores; give one score per raw point")
        if not _rises(self.raw, strictly=True):
            raise ValueError("`raw` must rise strictly from point to point")
        if not _rises(self.score) or self.score[0] < 0 or self.score[-1] > 1:
            raise ValueError("`score` must rise and stay within 0..1")
        return self


class Smoothing(Model):
    """Running median over this many windows."""

    median: Annotated[int, Field(ge=1, le=1000)] = 1


class Thresholds(Model):
    """From where on the answer is an alarm; below which confidence and above which novelty it is no evidence."""

    alarm: float | None = None
    confidence: Share | None = None
    novelty: Share | None = None


class Mode(Model):
    """One place where training data lay close together (a speed, a state of the plant), in the envelope's scaled features."""

    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...] = Field(description="inverse covariance around the centre")


class Envelope(Model):
    """Where the training data lay. The features are the mean of each channel, then the standard deviation of each channel,
    over the window (in units of the baseline if there is one)."""

    centre: tuple[float, ...]
    scale: tuple[Annotated[float, Field(gt=0)], ...]
    precision: tuple[tuple[float, ...], ...] | None = Field(default=None, description="inverse covariance of the scaled features")
    spread: Literal["linear", "log"] = Field(default="linear", description="log: of the standard deviations; a dead channel is far away")
    modes: Annotated[tuple[Mode, ...], Field(max_length=64, description="the distance is that to the nearest; none: to `centre`")] = ()
    distances: Annotated[
        tuple[float, ...], Field(min_length=2, max_length=2000, description="of the training windows, at the quantiles `q`")
    ]
    q: Annotated[tuple[float, ...], Field(min_length=2, max_length=2000)]
    reach: Annotated[float, Field(ge=1, description="how many times farther than the training data still counts as known")] = 1.0
    low: tuple[float, ...] | None = Field(default=None, description="lowest value of each channel, in the role's unit, that is still known")
    high: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        size = len(self.centre)
        if len(self.scale) != size:
            raise ValueError(f"centre has {size} values, scale {len(self.scale)}")
        if self.precision is not None and (len(self.precision) != size or any(len(row) != size for row in self.precision)):
            raise ValueError(f"precision must have {size} rows of {size}")
        for mode in self.modes:
            if len(mode.centre) != size or len(mode.precision) != size or any(len(row) != size for row in mode.precision):
                raise ValueError(f"modes: each needs a centre of {size} values and a precision of {size} rows of {size}")
        if len(self.q) != len(self.distances) or not _rises(self.q) or self.q[0] < 0 or self.q[-1] > 1:
            raise ValueError("`q` must rise within 0..1, one for each of `distances`")
        if not _rises(self.distances) or self.distances[0] < 0:
            raise ValueError("`distances` must rise and not be negative")
        if (self.low is None) != (self.high is None):
            raise ValueError("give both `low` and `high`, or none")
        return self


class Histogram(Model):
    """How a figure was spread in training: `share[i]` of the windows between `edges[i - 1]` and `edges[i]`."""

    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=9)]
    share: Annotated[tuple[Share, ...], Field(min_length=2, max_length=10)]

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if len(self.share) != len(self.edges) + 1 or not _rises(self.edges, strictly=True):
            raise ValueError("`edges` must rise strictly, and `share` have one value more")
        if abs(sum(self.share) - 1) > 1e-3:
            raise ValueError(f"`share` must sum to 1, not {sum(self.share):g}")
        return self


class Drift(Model):
    """What the drift watch compares with, beside the envelope."""

    score: Histogram | None = Field(default=None, description="of the raw score, over training windows that raise no alarm")


class Intended(Model):
    """What the model may be used for. A loop of a higher tier refuses it."""

    use: Text
    not_for: Text = ""
    tier: Literal[0, 1, 2] = 0


class Provenance(Model):
    """Where the model comes from."""

    data: Text
    data_licence: Text
    split: Text = ""
    code: Text = ""
    licence: Text = ""
    runs: dict[Text, Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]] = Field(
        default_factory=dict, description="runs it was trained on: name -> hash of the values; lets `models evaluate` tell seen from unseen"
    )


class Metrics(Model):
    """How good it was, measured how."""

    protocol: Text = ""
    fp32: dict[str, float] = Field(default_factory=dict)
    int8: dict[str, float] = Field(default_factory=dict)
    loss: Share = Field(default=0.01, description="most that INT8 may lose against FP32 on a share: `models quantize` refuses more")


class Golden(Model):
    """How far the outputs may lie from those of the training machine: |out - golden| <= atol + rtol * |golden|."""

    rtol: Annotated[float, Field(ge=0, le=0.5)] = 1e-3
    atol: Annotated[float, Field(ge=0)] = 1e-4


class Card(Model):
    """A whole card.yaml."""

    format: Literal[1]
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    head: dict[str, Any] = Field(description="`type:` and that head's own keys")
    window: Span
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=1024)]
    picture: Picture | None = Field(default=None, description="the one role is a camera")
    graph: Graph
    baseline: Baseline | None = None
    calibration: Calibration | None = None
    smoothing: Smoothing = Smoothing()
    thresholds: Thresholds = Thresholds()
    envelope: Envelope | None = None
    drift: Drift = Drift()
    intended: Intended
    provenance: Provenance
    metrics: Metrics = Metrics()
    golden: Golden = Golden()

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        names = [role.role for role in self.roles]
        if len(set(names)) != len(names):
            raise ValueError("roles: a name stands twice; each channel needs its own")
        self._fits_picture()
        channels = self.channels
        if (self.baseline is None) != (self.graph.baseline is None):
            raise ValueError("baseline: stands either in both `baseline` and `graph.baseline`, or in none")
        if self.baseline and len(self.baseline.floor) != channels:
            raise ValueError(f"baseline.floor: {len(self.baseline.floor)} values for {channels} channels")
        if self.envelope and len(self.envelope.centre) != 2 * channels:
            raise ValueError(
                f"envelope.centre: {len(self.envelope.centre)} values, expected {2 * channels} (mean and std of {channels} channels)"
            )
        for bound in (self.envelope.low, self.envelope.high) if self.envelope else ():
            if bound is not None and len(bound) != channels:
                raise ValueError(f"envelope.low/high: {len(bound)} values for {channels} channels")
        if not isinstance(self.head.get("type"), str):
            raise ValueError("head.type: missing; write anomaly, classify or regress")
        if not self.outputs():
            raise ValueError("graph.outputs: names no output")
        return self

    def _fits_picture(self) -> None:
        outputs, picture = self.graph.outputs, self.picture
        if picture is None:
            if outputs.map or outputs.boxes or outputs.box_scores or outputs.box_classes:
                raise ValueError("graph.outputs: maps and boxes are of pictures; add `picture:`")
            return
        if len(self.roles) != 1 or self.window.rows != 1 or self.window.every is not None or self.baseline is not None:
            raise ValueError("picture: takes one role, `window: {rows: 1}` and no baseline")
        if (outputs.map is None) != (picture.map is None):
            raise ValueError("picture.map: say its size where graph.outputs.map names one, and only there")
        if ((outputs.boxes or outputs.box_scores or outputs.box_classes) is None) != (picture.boxes is None):
            raise ValueError("picture.boxes: say how many where graph.outputs names boxes, and only there")

    @property
    def channels(self) -> int:
        """Of the window: one for each role, or the colours of a picture."""
        return self.picture.channels if self.picture else len(self.roles)

    @property
    def normal(self) -> tuple[str, ...]:
        """The head's label for "nothing is wrong", or one for each part of the machine; empty where it has none."""
        word = self.head.get("normal", ())
        return (word,) if isinstance(word, str) else tuple(word)

    @property
    def labels(self) -> tuple[str, ...]:
        """The head's labels, in the order of the graph's output; empty where it has none."""
        return tuple(self.head.get("labels", ()))

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """The graph's inputs and their shapes behind the batch axis; all float32."""
        if self.picture:
            return {self.graph.window: (self.picture.channels, self.picture.height, self.picture.width)}
        channels = len(self.roles)
        shapes: dict[str, tuple[int, ...]] = {self.graph.window: (channels, self.window.rows)}
        if self.graph.baseline:
            shapes[self.graph.baseline] = (2, channels)
        return shapes

    def outputs(self) -> dict[str, tuple[int, ...]]:
        """The graph's outputs and their shapes behind the batch axis; all float32."""
        labels, most = len(self.labels), self.picture.boxes or 0 if self.picture else 0
        shapes: dict[str, tuple[int, ...]] = {
            "contributions": (len(self.roles),),
            "logits": (labels,),
            "probabilities": (labels,),
            "map": (self.picture.map or () if self.picture else ()),
            "boxes": (most, 4),
            "box_scores": (most,),
            "box_classes": (most,),
        }
        named: dict[str, str | None] = self.graph.outputs.model_dump()
        return {name: shapes.get(kind, ()) for kind, name in named.items() if name}


def parse(raw: bytes, where: str = "card.yaml") -> Card:
    """Read a card, as strictly as a configuration. ModelRefused names every finding with its place."""
    if len(raw) > MAX_BYTES:
        raise ModelRefused(f"{where}: {len(raw)} bytes; a card has at most {MAX_BYTES}")
    try:
        root, problems = yaml.read(raw.decode(), where)
    except UnicodeDecodeError as e:
        raise ModelRefused(f"{where}: not UTF-8: {e}") from e
    if root is None or problems:
        raise ModelRefused("\n".join(map(str, problems)) or f"{where}: empty")
    try:
        return _checked(tree.plain(root), where)
    except ValidationError as e:
        raise ModelRefused("\n".join(map(str, explain(e, Card, root=root, base=(), file=where)))) from e


def check(data: Any, where: str = "card.yaml") -> Card:
    """Check a card that is already a mapping. ModelRefused."""
    try:
        return _checked(data, where)
    except ValidationError as e:
        raise ModelRefused("\n".join(f"{where}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors())) from e


def _checked(data: Any, where: str) -> Card:
    """JSON in between: strict about types, yet a list may stand for a tuple."""
    try:
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as e:
        raise ModelRefused(f"{where}: not plain finite data: {e}") from e
    return Card.model_validate_json(text)


def _rises(values: Sequence[float], strictly: bool = False) -> bool:
    return all(a < b if strictly else a <= b for a, b in pairwise(values))
