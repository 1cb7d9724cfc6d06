"""How is one tag found in MQTT messages, and how is it written? The `topic`, `decode` and `publish` of a tag."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from edge_agent.config.model import Tag
from edge_agent.config.types import Duration, Frequency, Model
from edge_agent.mqtt.paths import parse

PayloadType = Literal["number", "json", "text", "bool", "f32le", "i16le"]
TimeFormat = Literal["ns", "us", "ms", "s", "iso"]
Reduce = Literal["rms", "peak", "mean", "kurtosis", "crest", "none"]
Word = Literal["good", "uncertain", "bad"]
BLOCKS = ("f32le", "i16le")


class QualityField(Model):
    """Where the device says how good the value is, and what its words mean."""

    path: str
    map: dict[str, Word] = Field(
        default={"good": "good", "ok": "good", "true": "good", "uncertain": "uncertain", "bad": "bad", "false": "bad"},
        description="the device's word or number, in lower case, to ours; what is not listed is bad",
    )


class Decode(Model):
    """How a payload becomes a value."""

    type: PayloadType = "number"
    path: str | None = Field(default=None, description="where in the JSON the value is: a.b[0]; unset: the whole payload")
    time: str | None = Field(default=None, description="where in the JSON the device's time is; unset: our time of receipt")
    time_format: TimeFormat = Field(default="ms", description="of the device's time, counted from 1970 UTC; or ISO 8601")
    quality: QualityField | None = None
    batch: str | None = Field(default=None, description="where in the JSON a list of samples is; the other paths then start at its items")
    rate: Frequency | None = Field(default=None, description="sampling rate of a waveform block, or of a batch without times")
    length: Annotated[int, Field(ge=1)] | None = Field(default=None, description="samples a waveform block must have")
    scale: float = Field(default=1.0, description="value = raw x scale + offset")
    offset: float = 0.0
    reduce: Reduce = Field(default="none", description="one number out of a waveform block")

    @field_validator("path", "time", "batch")
    @classmethod
    def _paths(cls, path: str | None) -> str | None:
        if path is not None:
            parse(path)
        return path

    @model_validator(mode="after")
    def _fits(self) -> Decode:
        if self.type != "json" and (self.path or self.time or self.quality or self.batch):
            raise ValueError(f"path, time, quality and batch need `type: json`, not {self.type}")
        if self.quality:
            parse(self.quality.path)
        if (self.reduce != "none" or self.length) and self.type not in (*BLOCKS, "json"):
            raise ValueError(f"reduce and length need a waveform block (f32le, i16le, or json with a list), not {self.type}")
        return self

    @property
    def block(self) -> bool:
        """Whether the value is a waveform block on the wire."""
        return self.type in BLOCKS or (self.type == "json" and (self.reduce != "none" or self.length is not None))


class Envelope(Model):
    """A signed frame around the command (docs/mqtt-commands.md), so that the receiver can refuse what is old, twice or foreign."""

    sign: SecretStr = Field(description="hmac-sha256: a secret of 16 bytes or more; ed25519: the private key's 32 bytes in hex")
    algorithm: Literal["hmac-sha256", "ed25519"] = "hmac-sha256"

    @model_validator(mode="after")
    def _long_enough(self) -> Envelope:
        secret = self.sign.get_secret_value()
        if self.algorithm == "ed25519":
            try:
                seed = bytes.fromhex(secret)
            except ValueError:
                seed = b""
            if len(seed) != 32:
                raise ValueError("sign: an ed25519 key is 32 bytes, written as 64 hex digits")
        elif len(secret.encode()) < 16:
            raise ValueError("sign: a secret shorter than 16 bytes can be guessed; make a longer one")
        return self


class Publish(Model):
    """How the tag is written. Always QoS 1, never retained, never queued across an outage."""

    topic: Annotated[str, Field(min_length=1, max_length=1024)]
    key: str | None = Field(default=None, description='send {"key": value}')
    template: str | None = Field(default=None, description="send this text with $value, $id, $issued_ms and $expires_ms filled in")
    envelope: Envelope | None = None
    arguments: Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]], Field(min_length=1, max_length=8)] | None = (
        Field(
            default=None,
            description="the tag is called, not set: send {name: argument, ..., seq, issued_ms, expires_ms}; the plant answers on the "
            "tag's `topic` with a value equal to the first argument once it has taken the call",
        )
    )
    expiry: Duration = Field(default=5.0, description="older than this the broker (MQTT 5) and the receiver (envelope) drop the command")

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        if "+" in topic or "#" in topic or "\0" in topic:
            raise ValueError(f"{topic!r}: a command goes to one topic; no + and no #")
        return topic

    @model_validator(mode="after")
    def _one_form(self) -> Publish:
        if sum(x is not None for x in (self.key, self.template, self.envelope, self.arguments)) > 1:
            raise ValueError("key, template, envelope and arguments exclude one another; keep one")
        if self.arguments is not None and len({*self.arguments, "seq", "issued_ms", "expires_ms"}) < len(self.arguments) + 3:
            raise ValueError("arguments: each name once, and seq, issued_ms and expires_ms are ours")
        if self.template is not None and "$value" not in self.template:
            raise ValueError("template: has no $value, so every command would be the same")
        return self


class MqttTag(Tag):
    """A value in MQTT messages."""

    topic: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="+ and # allowed; of a writable tag: where the plant says what it has taken"
    )
    qos: Literal[0, 1] = Field(default=1, description="1: nothing is lost in an outage; 0: cheaper")
    decode: Decode = Decode()
    publish: Publish | None = None

    @field_validator("topic")
    @classmethod
    def _filter(cls, topic: str | None) -> str | None:
        levels = topic.split("/") if topic else []
        if any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1] or "\0" in (topic or ""):
            raise ValueError(f"{topic!r}: + stands for a whole level, # for all levels at the end")
        return topic

    @model_validator(mode="after")
    def _used(self) -> MqttTag:
        if self.topic is None and self.publish is None:
            raise ValueError("say `topic:` (to read it) or `publish:` (to write it) or both")
        if self.write and self.publish is None:
            raise ValueError("write: true needs `publish:`, so that it is known where commands go")
        if self.publish is not None and self.publish.arguments is not None and self.topic is None:
            raise ValueError("publish.arguments needs `topic:`, where the plant says which calls it has taken")
        return self
