"""What stands behind `!secret name` and `!env NAME`? Read when the file is loaded, and shown to nobody."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")
_LARGEST = 64 * 1024  # bytes; a certificate chain fits
_FOLDER = "secrets"  # systemd names the files of a folder that LoadCredential=secrets:FOLDER loads secrets_NAME
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Unreadable(ValueError):
    """A secret that is missing or must not be used; `cure` says what to do."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


def resolve(tag: str, name: object, folder: Path | None, environment: Mapping[str, str]) -> str:
    """The text behind a tag. `folder` is where the configuration lies."""
    if tag == "!env":
        return _variable(name, environment)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Unreadable("!secret needs a name", "write '!secret plc_password', then put the secret into secrets/plc_password")
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    for file in (Path(credentials) / name, Path(credentials) / f"{_FOLDER}_{name}") if credentials else ():
        if file.exists():
            return _content(file, private=False)  # systemd guards that folder; its ACL shows as group bits
    if folder is not None and (file := folder / "secrets" / name).exists():
        return _content(file, private=True)
    places = [f"{credentials}/{name}"] if credentials else []
    places += [str(folder / "secrets" / name)] if folder is not None else []
    cure = f"put it, readable by you alone, into {places[-1]}" if places else "set CREDENTIALS_DIRECTORY"
    raise Unreadable(f"the secret {name} is not in {' nor '.join(places) or 'any folder'}", cure)


def _variable(name: object, environment: Mapping[str, str]) -> str:
    if not isinstance(name, str) or not name:
        raise Unreadable("!env needs the name of an environment variable", "write '!env PLC_HOST'")
    if name not in environment:
        raise Unreadable(f"the environment variable {name} is not set", f"set {name}, or write the value here")
    return environment[name]


def _content(file: Path, *, private: bool) -> str:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe must not hold us up
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}", "let the agent's user read it") from error
    with os.fdopen(handle, "rb") as stream:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise Unreadable(f"{file} is not a file", "put the secret into a plain file")
        if private and state.st_mode & _OTHERS:
            raise Unreadable(f"{file} may be read by others (mode {stat.S_IMODE(state.st_mode):o})", f"chmod 600 {file}")
        content = stream.read(_LARGEST + 1)
    return _text(content, file)


def _text(content: bytes, file: Path) -> str:
    if len(content) > _LARGEST:
        raise Unreadable(f"{file} is larger than {_LARGEST // 1024} KiB", "that is no password")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{file} is not text", "save it as UTF-8") from error
    if not text:
        raise Unreadable(f"{file} is empty", "write the secret into it")
    return text
