"""What may stand in an agent's YAML. Values are already in SI units (seconds, hertz, bytes) and checked one by one;
what must hold between them is checked in check.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from edge_agent.config.types import Duration, Model, Rate, Share, Size, Time

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
TagName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
Clearance = Literal["site", "company", "consortium"]


def _no_safety(value: Any) -> Any:
    if value == 3 and not isinstance(value, bool):
        raise ValueError("tier 3 is safety-related, and the agent is not a safety function; leave this to the plant's safety controller")
    return value


Tier = Annotated[Literal[0, 1, 2], BeforeValidator(_no_safety)]


class Agent(Model):
    """Who this agent is."""

    name: Name
    site: str = ""
    owner: str
    state: str | None = Field(
        default=None,
        description="folder of the ledger and all other state; default: what systemd gives, else /var/lib/edge-agent/NAME of this file",
    )
    stop_file: str | None = Field(default=None, description="while this file exists nothing is written; default: STATE/stop")


class Tag(Model):
    """One value of the plant. A connector's own `Tag` adds how it is addressed."""

    from_: Name = Field(alias="from", description="name of the connector")
    unit: str | None = Field(default=None, description="unit of the value as the agent uses it, like l/min")
    source_unit: str | None = Field(default=None, description="unit on the wire, where it differs from `unit`")
    range: tuple[float, float] | None = Field(default=None, description="what the sensor can measure; outside is a fault")
    max_age: Time | None = Field(default=None, description="older than this is stale; unset: fresh while the link is alive")
    max_flat: Time | None = Field(default=None, description="unchanged for longer than this is a stuck sensor")
    accept_uncertain: bool = Field(default=False, description="take Uncertain for good")
    write: bool = Field(default=False, description="the agent may be allowed to write it (by a loop's execute section)")
    record: bool = Field(default=False, description="every sample goes into the ledger; acknowledged only after the commit")
    safety: bool = Field(default=False, description="safety-related: the agent refuses to write it")


class Belt(Model):
    """How a part travels from the trigger to the gate: metres instead of times."""

    speed: TagName | None = Field(default=None, description="tag of the belt's speed, in m/s")
    encoder: TagName | None = Field(default=None, description="tag of a counter that rises as the belt moves")
    scale: Annotated[float, Field(gt=0)] = Field(default=1.0, description="metres per count of the encoder, or what makes m/s of the speed")
    camera: Annotated[float, Field(ge=0)] = Field(description="metres from the trigger to the middle of the cameras' view")
    gate: Annotated[float, Field(gt=0)] = Field(description="metres from the trigger to the gate")
    margin: Duration = Field(default=0.05, description="the verdict has to be out this long before the part is at the gate")


class Parts(Model):
    """One picture of every camera for each part that a trigger announces."""

    trigger: TagName = Field(description="a new value says that a part has come")
    numbered: bool = Field(default=True, description="its value is the part's number; false: a pulse or a counter, and we number the parts")
    step: Annotated[int, Field(ge=0)] = Field(
        default=1, description="from one number to the next; what is skipped is a missed trigger. 0: numbers tell nothing"
    )
    debounce: Duration = Field(default=0.0, description="of pulses: a second one within this time is the same part")
    delay: Duration = Field(default=0.0, description="from the trigger to the moment when the part is before the cameras")
    within: Time = Field(
        default=0.05, description="a picture must be taken, and be here, this long after that moment; else the part is unseen"
    )
    deadline: Time | None = Field(default=None, description="from the trigger to the verdict; later it does not leave any more")
    belt: Belt | None = Field(default=None, description="instead of `delay` and `deadline`")


class Perceive(Model):
    """How samples become windows."""

    tags: Annotated[list[TagName], Field(min_length=1, description="the model's channels, in the card's order of roles")]
    every: Duration | None = Field(default=None, description="distance of the rows (grid); unset with `follow`")
    window: Annotated[int, Field(ge=1, le=1_000_000, description="rows in a window")]
    hop: Annotated[int, Field(ge=1, description="rows from one window to the next")] = 1
    follow: TagName | None = Field(default=None, description="cut a row at each sample of this tag instead of a grid")
    cycle: Cycle | None = None
    part: Parts | None = Field(default=None, description="the tags are cameras: one picture of each for every part")
    fill: Literal["hold", "linear"] = "hold"
    max_gap: Duration = Field(default=3.0, description="longest hole that may be filled")
    settle: Duration | None = Field(default=None, description="how long a row waits for late tags; default: every / 2, at most 500 ms")
    skew: Duration = Field(default=2.0, description="source time further ahead of ours than this, after the offset is known, is a fault")


class Cycle(Model):
    """Windows from machine cycles: rows between start and stop, resampled to `window` rows."""

    start: str = Field(description="expression that becomes true when a cycle starts, like 'phase == 2'")
    stop: str
    longest: Time = 600.0


class Trust(Model):
    """Thresholds that tighten (never loosen) the card's."""

    novelty: Share | None = None
    confidence: Share | None = None


class Drift(Model):
    """The slow watch over what the model sees and says, against its card. It changes no answer: `drifting` says it."""

    over: Annotated[Time, Field(description="how far the averages reach back; nothing is said in the first quarter")] = 8 * 3600.0
    psi: Annotated[float, Field(gt=0, description="population stability index of the score, where the card has a histogram of it")] = 0.25
    ks: Annotated[float, Field(gt=0, le=1, description="how far the novelty's distribution may lie above that of training")] = 0.7
    shift: Annotated[float, Field(gt=0, description="mean level or spread of an input, in deviations of the training windows")] = 3.0


class Member(Model):
    """One more model that looks at the same windows."""

    model: str = Field(description="folder of the bundle, as in `diagnose.model`")
    roles: dict[TagName, TagName] = Field(default_factory=dict, description="model input -> tag; unset: by the order of perceive.tags")


class Fallback(Model):
    """What stands in where the model is missing or refused: another one, or a rule, which never writes."""

    model: str | None = Field(default=None, description="folder of a bundle, as in `diagnose.model`")
    roles: dict[TagName, TagName] = Field(default_factory=dict, description="model input -> tag; unset: by the order of perceive.tags")
    rule: str | None = Field(default=None, description="expression over tags: score 1 where it is true, 0 where it is false")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.model is None) == (self.rule is None):
            raise ValueError("give a `model` or a `rule`, one of them")
        return self


class Diagnose(Model):
    """Which model says what the window means."""

    model: Annotated[str, Field(description="folder of the bundle, absolute or relative to this file or to the installed models")]
    roles: dict[TagName, TagName] = Field(default_factory=dict, description="model input -> tag; unset: by the order of perceive.tags")
    timeout: Time = 1.0
    trust: Trust = Trust()
    smooth: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="windows in the running median; default: the card's"
    )
    drift: Drift | None = Field(default=Drift(), description="null: no watch")
    also: Annotated[list[Member], Field(max_length=7)] = Field(
        default_factory=list, description="models that vote with it, each on the same windows"
    )
    vote: Literal["median", "mean", "highest", "lowest"] = Field(default="median", description="how several scores become one")
    quorum: Annotated[int, Field(ge=1, le=8)] | None = Field(
        default=None, description="how many of them must have evidence; default: more than half"
    )
    fallback: Annotated[list[Fallback], Field(max_length=4)] = Field(
        default_factory=list, description="tried in this order where the model is missing or refused"
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.quorum is not None and self.quorum > 1 + len(self.also):
            raise ValueError(f"quorum {self.quorum} of {1 + len(self.also)} models; ask for fewer, or add some under `also`")
        return self


class Verify(Model):
    """The tag itself must show the written value."""

    within: Time = 2.0
    tolerance: float | None = Field(default=None, description="default: half of `step`")


class Response(Model):
    """The process must answer the write."""

    tag: TagName
    direction: Literal["up", "down"]
    by: Annotated[float, Field(gt=0, description="at least this much, in the tag's unit")]
    within: Time


class Budget(Model):
    """How much may be changed in total."""

    change: Annotated[float, Field(gt=0, description="sum of absolute changes")]
    per: Time


class Lease(Model):
    """The PLC falls back by itself when this counter stops."""

    tag: TagName
    every: Time = 1.0


class Write(Model):
    """How one tag may be written. Everything a gate needs is said here; there are no defaults that allow."""

    limits: tuple[float, float] | None = Field(default=None, description="lowest and highest value; required for numbers")
    values: list[bool | int | str] | None = Field(default=None, description="the only values allowed; for switches and texts")
    step: Annotated[float, Field(gt=0)] | None = Field(default=None, description="values are multiples of this")
    neutral: float = Field(default=0.0, description="where a trim returns to")
    rate: Rate | None = Field(default=None, description="fastest change, in the tag's unit")
    rate_down: Rate | None = Field(default=None, description="fastest change downwards; default: `rate`")
    max_step: Annotated[float, Field(gt=0)] | None = Field(default=None, description="largest single change; default: rate x min_interval")
    min_interval: Duration = 1.0
    per_hour: Annotated[int, Field(ge=1)] = 600
    reversals_per_hour: Annotated[int, Field(ge=0)] = 60
    budget: Budget | None = None
    drift: Budget | None = None
    interlocks: list[str] = Field(default_factory=list, description="expressions over tags that must all be true")
    base: TagName | None = Field(default=None, description="the operator's own setpoint: if it changes, the trim is withdrawn")
    verify: Verify = Verify()
    response: Response | None = None
    lease: Lease | None = None


class Context(Model):
    """Pre and post context of an alarm."""

    before: Duration = 60.0
    after: Duration = 60.0


class Keep(Model):
    """What is worth a technician's or a trainer's time."""

    alarms: Context | None = Context()
    alarm_score: Share = 0.8
    near_threshold: Share | None = None
    novel: bool = True
    drifting: bool = Field(default=True, description="what `diagnose.drift` found")
    random: Share = 0.0
    per_day: Annotated[int, Field(ge=1)] = 2000


class Feedback(Model):
    """What goes into the ledger from this loop, and who may see it."""

    keep: Keep = Keep()
    share: Clearance = "site"
    label_outcomes: bool = True


class Loop(Model):
    """One closed loop: the keys are the links."""

    mode: Literal["off", "observe", "advise", "armed"] = Field(default="observe", description="the highest mode a person may raise it to")
    tier: Tier = Field(default=0, description="0 never writes; 1 small reversible actions; 2 a person approves each write")
    rearm: Literal["manual", "auto"] = "manual"
    perceive: Perceive
    diagnose: Diagnose
    decide: dict[str, Any] = Field(description="`policy:` and that policy's own keys")
    execute: dict[TagName, Write] = Field(default_factory=dict)
    feedback: Feedback = Feedback()


class Ledger(Model):
    """The store of records."""

    max_size: Size = 2e9
    min_free: Size = 200e6


class Token(Model):
    """A consumer of the API: shown by a token, by a client certificate, or by both."""

    name: Name
    token: SecretStr | None = None
    previous: SecretStr | None = Field(default=None, description="the token of before, as long as not every program has the new one")
    certificate: str | None = Field(default=None, description="common name of the client certificate, signed by one of api.tls.clients")
    clearance: Clearance = "site"
    may: tuple[Literal["read", "label"], ...] = ("read",)

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if self.token is None and self.certificate is None:
            raise ValueError("how does it show who it is? give `token: !secret NAME`, `certificate: COMMON NAME`, or both")
        if self.previous is not None and self.token is None:
            raise ValueError("`previous` is the token before `token`; give that, too")
        return self


class Tls(Model):
    """The API over TLS. Files are PEM; relative ones lie beside this file."""

    certificate: str
    key: str
    clients: str | None = Field(default=None, description="who signs client certificates; with it, nobody without one gets in")


class Api(Model):
    """The pull API. Closed unless a token is named."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8467
    tokens: list[Token] = Field(default_factory=list)
    tls: Tls | None = None
    names: tuple[str, ...] = Field(default=(), description="names with a dot under which this machine is asked, like ipc1.plant.example")
    unsecured: bool = Field(default=False, description="tokens may cross a network in clear: something else protects that way")

    @model_validator(mode="after")
    def _certificates_need_tls(self) -> Self:
        if any(token.certificate for token in self.tokens) and (self.tls is None or self.tls.clients is None):
            raise ValueError("a consumer shows a certificate, but api.tls.clients does not say who signs such")
        return self


class Models(Model):
    """Whose models are believed."""

    trust: str | None = Field(default=None, description="folder of public keys (*.pem); only bundles signed by one of them may write")
    unsigned: bool = Field(default=False, description="also load bundles that none of them signed; their loops can only observe")


class File(Model):
    """A whole configuration file, after templates were expanded."""

    version: Literal[1]
    agent: Agent
    connectors: dict[Name, dict[str, Any]]
    tags: dict[TagName, dict[str, Any]]
    loops: dict[Name, Loop] = Field(default_factory=dict)
    models: Models = Models()
    ledger: Ledger = Ledger()
    api: Api = Api()
    tests: list[dict[str, Any]] = Field(default_factory=list)


Perceive.model_rebuild()
