"""What travels over the pull API, as pydantic models; /openapi.json is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seq = Annotated[int, Field(ge=1, le=(1 << 62) - 1)]


class _Border(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class CursorIn(_Border):
    """Everything up to and including this record is safe with the consumer."""

    epoch: Annotated[int, Field(ge=0, le=(1 << 62) - 1)]
    seq: Annotated[int, Field(ge=0, le=(1 << 62) - 1)]


class LabelIn(_Border):
    """What was true of older records."""

    seq: Seq | Annotated[list[Seq], Field(min_length=1, max_length=1000)]
    value: Annotated[str, Field(min_length=1, max_length=500)]
    note: Annotated[str, Field(max_length=500)] = ""
    by: Annotated[str, Field(max_length=100)] = Field(default="", description="who says so; the token's name is added")


class LabelOut(_Border):
    """The label's own record, on disk."""

    seq: int


class ConsumerOut(_Border):
    """How far a consumer has come."""

    name: str
    epoch: int
    seq: int
    updated_ns: int
    behind: int = Field(description="records that it has not acknowledged yet")


class RecordOut(_Border):
    """One line of a page of /v1/feedback. `hash` is the SHA-256 over the 32 bytes of `prev` and the JSON, without spaces, of
    {"blobs", "epoch", "kind", "loop", "mono_ns", "owner", "payload_sha256", "seq", "share", "wall_ns"} in this order;
    `payload_sha256` is that of the payload's bytes as they stand in the line."""

    agent: str
    site: str
    epoch: int
    seq: int
    kind: str
    loop: str | None
    wall_ns: int
    mono_ns: int
    owner: str
    share: Literal["site", "company", "consortium"]
    payload: dict[str, Any] | None = Field(description="null where retention has dropped it")
    payload_sha256: str
    blobs: list[str]
    prev: str
    hash: str


class ErrorOut(_Border):
    """What is wrong, and what to do."""

    error: str
