"""How is a camera reached, and which part of its picture is a tag? The keys of a `camera` connector and of its tags."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from edge_agent.config.model import Tag
from edge_agent.config.types import Duration, Model, Time

Pixel = Annotated[int, Field(ge=0, le=65535)]
Box = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], Field(description="left, top, width, height in pixels")]
_SCHEMES = ("rtsp", "http")
_TLS = (
    "OpenCV's wheels carry an OpenSSL that gets no more fixes; keep the camera in a network of its own, or put a TLS relay beside the agent"
)


class Camera(Model):
    """Where pictures come from: one of `url`, `device`, `file`, `folder`."""

    url: str | None = Field(default=None, description="rtsp://host/path, or http://host/path of an MJPEG stream")
    device: str | None = Field(default=None, description="a camera of this machine, like /dev/video0")
    file: str | None = Field(default=None, description="a video file, played once at its own speed")
    folder: str | None = Field(default=None, description="JPEG and PNG files that another program puts there")
    user: str | None = None
    password: SecretStr | None = None
    transport: Literal["tcp", "udp"] = Field(
        default="tcp",
        description="of RTSP: tcp loses nothing; udp is quick: over tcp Nagle and delayed acknowledgements hold a picture up to 40 ms",
    )
    open_timeout: Time = 5.0
    read_timeout: Time = 2.0
    stall: Time = Field(default=10.0, description="a library call that takes longer is left behind, and the camera opened anew")
    max_backoff: Time = 30.0
    latency: Duration = Field(default=0.0, description="from the exposure to the arrival here; capture times are that much earlier")
    whole_within: Time = Field(default=5.0, description="a file that is not whole by then is given up")

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme in ("rtsps", "https"):
            raise ValueError(f"{parts.scheme}: no TLS streams: {_TLS}")
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"{url!r} is no stream; write rtsp://host/path or http://host/path")
        if parts.username or parts.password:
            raise ValueError("user and password do not belong into the URL: write `user:` and `password: !secret name`")
        return url

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.url, self.device, self.file, self.folder)) != 1:
            raise ValueError("say exactly one of `url`, `device`, `file`, `folder`")
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` go together")
        return self

    @property
    def place(self) -> str:
        """For people: without a password."""
        return str(self.url or self.device or self.file or self.folder)

    @property
    def address(self) -> str:
        """The URL with user and password, for the library only."""
        if self.url is None or self.user is None or self.password is None:
            return self.place
        parts = urlsplit(self.url)
        login = f"{quote(self.user, safe='')}:{quote(self.password.get_secret_value(), safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


class Watch(Model):
    """When a picture is no evidence. Levels are 0..255; of a masked picture only what is not masked counts."""

    dark: Annotated[float, Field(ge=0, le=255)] = Field(default=8.0, description="mean below this: too dark, bad")
    bright: Annotated[float, Field(ge=0, le=255)] = Field(default=247.0, description="mean above this: too bright, bad")
    contrast: Annotated[float, Field(ge=0)] = Field(default=2.0, description="standard deviation below this: obstructed, bad")
    sharpness: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="variance of the Laplacian below this: blurred, uncertain; `doctor` shows what it is now"
    )
    frozen: Time | None = Field(default=10.0, description="not one pixel different for longer than this: frozen, bad")


class CameraTag(Tag):
    """A part of the camera's picture; or the part number that a file's name says."""

    roi: Box | None = Field(default=None, description="only this region: left, top, width, height in pixels")
    mask: list[Box] = Field(default_factory=list, description="regions of the roi that are blackened: a moving arm, a clock")
    colour: Literal["grey", "rgb"] = "grey"
    watch: Watch = Watch()
    number: str | None = Field(
        default=None, description="instead of a picture: the number that this pattern's group finds in the file's name"
    )

    @field_validator("roi")
    @classmethod
    def _some_size(cls, roi: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if roi is not None and (roi[2] < 1 or roi[3] < 1):
            raise ValueError(f"a region of {roi[2]} x {roi[3]} pixels shows nothing; write left, top, width, height")
        return roi

    @field_validator("number")
    @classmethod
    def _one_group(cls, number: str | None) -> str | None:
        try:
            groups = re.compile(number).groups if number is not None else 1
        except re.error as e:
            raise ValueError(f"not a pattern: {e}; write one like 'part-([0-9]+)'") from e
        if groups != 1:
            raise ValueError(f"{number!r} has {groups} groups; put the digits of the part number, and only them, into ( )")
        return number

    @model_validator(mode="after")
    def _reads_only(self) -> Self:
        if self.write:
            raise ValueError("a camera cannot be written; remove `write`")
        if self.record and self.number is None:
            raise ValueError("`record` is for values; a loop's `feedback.keep` says which pictures go into the ledger")
        return self
