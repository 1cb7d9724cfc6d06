"""What a plug-in promises, and what it is given. Protocols only: a plug-in inherits from nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:  # a plug-in's module is imported to check a configuration: asyncio and numpy can wait
    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.messages import Decision, Diagnosis, Gap, LinkState, Reading, Sample, Scalar, Window

# ---------------------------------------------------------------- connectors


class Sink(Protocol):
    """Where a connector puts what it received. Every method may be called from any thread and never blocks."""

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        """Hand over a batch, oldest first. `committed` is called (on any thread) once the batch may be acknowledged:
        at once if no tag in it feeds the ledger, after the commit otherwise, never if it was dropped."""

    def gap(self, gap: Gap) -> None: ...

    def link(self, state: LinkState) -> None: ...

    def alive(self, connector: str, mono_ns: int) -> None:
        """The device says: nothing has changed. Keeps tags that report by exception fresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What every connector is built with."""

    name: str
    clock: Clock
    state: Path  # a folder of its own, made on first use; survives restarts
    agent: str  # the agent's name, for client ids
    home: Path = Path()  # folder of the configuration file: relative paths in it start here


class Connector(Protocol):
    """A link to a device. Constructed with (config, tags, setup): no I/O, no heavy import before `run`.

    The plug-in's module holds three names: `Config` (pydantic, `type: Literal["name"]`), `Tag` (pydantic, a subclass of
    edge_agent.config.model.Tag: how one tag is addressed) and `Connector` (this).
    """

    async def run(self, sink: Sink) -> None:
        """Connect, stay connected, deliver; until cancelled. Device trouble is never raised: it is retried and reported."""

    def status(self) -> Mapping[str, Any]:
        """For `edge-agent status`: "link", "reason", counters, and "tags": what is wrong with a tag, as a text or as a mapping with
        "state"; "ok" or left out where nothing is. JSON-able."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagContract:
    """What the device itself says about a writable tag, read just now. None where it does not say."""

    type: str  # the device's own type name: "Double", "Int16", "json"
    writable: bool
    unit: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A device's answer to a write or a call. "unknown": it may or may not have happened; never retry blindly."""

    status: Literal["good", "refused", "unknown"]
    code: str  # the device's own word: "Good", "BadOutOfRange", "timed out after 2 s"
    at_mono_ns: int


class Writable(Protocol):
    """A connector that can also write. A connector without these methods is read-only."""

    async def describe(self, tag: str) -> TagContract:
        """Ask the device what the tag is. PlantError if it cannot be asked."""

    async def read(self, tag: str) -> Reading:
        """A fresh read from the device (not from the subscription). PlantError if it does not answer."""

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        """Write once, in the device's exact type, without time stamps."""

    async def call(self, tag: str, arguments: Sequence[Scalar], timeout_s: float) -> Reply:
        """Call the method behind the tag once."""


# ---------------------------------------------------------------- models


class Runtime(Protocol):
    """Runs graphs. Two of them: in this process (replay, tests) and in a killable worker (the live agent)."""

    async def load(self, bundle: Path) -> None:
        """Admit, open, warm up, re-run the golden vectors. ModelRefused."""

    async def run(self, bundle: Path, feeds: Mapping[str, NDArray[Any]], timeout_s: float) -> dict[str, NDArray[Any]]:
        """Named inputs to named outputs, first axis is the batch. TimeoutError when late, RuntimeError when it failed."""

    async def close(self) -> None: ...


class Asked(Protocol):
    """What diagnoses a loop's windows: a model, several that vote, or a rule."""

    @property
    def model(self) -> str: ...
    @property
    def model_hash(self) -> str: ...
    async def diagnose(self, window: Window) -> Diagnosis: ...
    def reset(self) -> None: ...
    def relearn(self) -> None: ...
    def baseline(self) -> list[list[float]] | None: ...
    def restore_baseline(self, saved: Sequence[Sequence[float]]) -> None: ...
    def status(self) -> dict[str, Any]: ...


class Head(Protocol):
    """What goes into a graph, and what its outputs mean. Pure; keeps no state between windows but what it is built with."""

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The graph's inputs for this window, batch axis first."""

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """Raw outputs to a diagnosis (before smoothing, calibration and novelty, which trust.py adds)."""


# ---------------------------------------------------------------- policies


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a policy may look at: nothing else. `applied` is what the plant confirmed last for each writable tag."""

    window: Window
    diagnosis: Diagnosis
    applied: Mapping[str, Scalar | None]
    armed: bool


class Policy(Protocol):
    """From a situation to a decision. Deterministic; time comes from the window. Constructed with (config, loop name,
    tag names the expressions may use, writable tag names). May have a `status()`: what it counts, for `edge-agent status`."""

    def step(self, situation: Situation) -> Decision: ...

    def reset(self) -> None:
        """Forget dwell, state and integrals: after a restart, a config or a model change."""

    @property
    def writes(self) -> frozenset[str]:
        """Every tag it could ever propose to write."""


# ---------------------------------------------------------------- the ledger, as the links see it


class Journal(Protocol):
    """The ledger's writing side."""

    async def append(self, kind: str, payload: Mapping[str, Any], *, loop: str | None = None, blobs: Sequence[bytes] = ()) -> int:
        """Return the record's seq after it is on disk. LedgerError if it cannot be."""

    @property
    def healthy(self) -> bool: ...
