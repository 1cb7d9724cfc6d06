"""How safe is an agent set up? Every point with what was found and what to do; nothing is changed, nobody is asked over a network."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_agent import app, places
from edge_agent.config.load import Configuration
from edge_agent.config.model import Token
from edge_agent.errors import EdgeAgentError, ModelRefused

Verdict = Literal["good", "note", "bad"]
_SHORT = 20  # characters of a token: below that it can be guessed
_OTHERS = stat.S_IRWXO
_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing that was looked at. `cure` is empty where all is well."""

    topic: str
    what: str
    verdict: Verdict
    found: str
    cure: str = ""


def report(configuration: Configuration) -> list[Point]:
    """Every point, by topic."""
    looks = (_links, _writes, _api, _models, _files, _process)
    return [point for look in looks for point in look(configuration)]


def _links(configuration: Configuration) -> Iterator[Point]:
    for name, config in configuration.connectors.items():
        url, security = getattr(config, "url", None), getattr(config, "security", None)
        if not isinstance(url, str) or "://" not in url:
            continue
        if security is not None:
            policy, trust = getattr(security, "policy", "None"), getattr(security, "trust", None)
            clear, found = policy == "None", f"{url}: policy {policy}, server {'pinned' if trust else 'not pinned'}"
        else:
            clear, found = not url.startswith(("mqtts://", "rtsps://", "https://")), url
        cure = "" if not clear else "encrypt the link, or keep it inside a cell of its own: values in clear can be forged on the way"
        user = getattr(config, "user", None)
        yield Point(topic="link", what=name, verdict="note" if clear else "good", found=f"{found}, user {user or 'none'}", cure=cure)


def _writes(configuration: Configuration) -> Iterator[Point]:
    for name, loop in configuration.file.loops.items():
        for tag, write in loop.execute.items():
            config = configuration.connectors[configuration.tags[tag].from_]
            clear = bool(getattr(getattr(config, "security", None), "unsecured_writes", False))
            found = f"mode up to {loop.mode}, tier {loop.tier}, limits {list(write.limits) if write.limits else write.values}"
            cure = "somebody on the network can write in our name; set a security policy" if clear else ""
            yield Point(topic="write", what=f"{name}: {tag}", verdict="bad" if clear else "good", found=found, cure=cure)


def _api(configuration: Configuration) -> Iterator[Point]:
    api = configuration.file.api
    if not api.tokens:
        yield Point(topic="api", what="access", verdict="good", found="closed: nobody is named")
        return
    here = api.host.startswith("127.") or api.host in ("::1", "localhost")
    found = f"{api.host}:{api.port}, {'TLS' if api.tls else 'no TLS'}{', client certificates' if api.tls and api.tls.clients else ''}"
    exposed = not here and api.tls is None
    cure = "tokens cross a network in clear; add api.tls" if exposed else ""
    yield Point(topic="api", what="address", verdict="bad" if exposed else "good", found=found, cure=cure)
    for token in api.tokens:
        yield _token(token)


def _token(token: Token) -> Point:
    secrets = [secret.get_secret_value() for secret in (token.token, token.previous) if secret is not None]
    short = any(len(secret) < _SHORT for secret in secrets)
    shown = " and ".join([*(["a token"] if token.token else []), *(["a certificate"] if token.certificate else [])])
    found = f"shown by {shown}; clearance {token.clearance}; may {', '.join(token.may)}"
    if short:
        cure = f"a token below {_SHORT} characters can be guessed; make one with `openssl rand -hex 32`"
        return Point(topic="api", what=token.name, verdict="bad", found=found, cure=cure)
    if token.previous is not None:
        return Point(
            topic="api", what=token.name, verdict="note", found=f"{found}; the previous token opens, too", cure="remove `previous`"
        )
    return Point(topic="api", what=token.name, verdict="good", found=found)


def _models(configuration: Configuration) -> Iterator[Point]:
    models = configuration.file.models
    if models.unsigned:
        yield Point(topic="model", what="models.unsigned", verdict="note", found="unsigned bundles are loaded, their loops only observe")
    for name in configuration.file.loops:
        try:
            path = app.bundle_path(configuration, name)
            bundle = app.opener(configuration)(path)
        except (ModelRefused, EdgeAgentError, OSError) as e:
            yield Point(topic="model", what=name, verdict="note", found=str(e), cure="this loop does not run")
            continue
        signed = f"signed by {bundle.signed_by}" if bundle.signed_by else "not signed by anybody we trust"
        yield Point(topic="model", what=name, verdict="good" if bundle.signed_by else "note", found=f"{bundle.id}, {signed}")


def _files(configuration: Configuration) -> Iterator[Point]:
    if configuration.path:
        yield _file(configuration.path, _WRITE, "others may change it")
        if (secrets := configuration.path.parent / "secrets").exists():
            yield _file(secrets, stat.S_IRWXG | _OTHERS, "others may read it")
    state = places.state(configuration.file.agent)
    if state.exists():
        yield _file(state, _OTHERS | stat.S_IWGRP, "others get at it")
    stop = places.stop_file(configuration.file.agent)
    if stop.exists():
        yield Point(topic="file", what=str(stop), verdict="note", found="it is there: nothing is written to the plant")


def _file(path: Path, forbidden: int, why: str) -> Point:
    mode = stat.S_IMODE(path.stat().st_mode)
    wrong = mode & forbidden
    cure = f"{why}: chmod {mode & ~forbidden:o} {path}" if wrong else ""
    return Point(topic="file", what=str(path), verdict="bad" if wrong else "good", found=f"mode {mode:o}", cure=cure)


def _process(configuration: Configuration) -> Iterator[Point]:
    root = os.geteuid() == 0
    yield Point(topic="process", what="user", verdict="note" if root else "good", found="root asks" if root else f"uid {os.geteuid()}")
    off = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"
    cure = "" if off else "something has set ORT_DISABLE_TELEMETRY anew"
    yield Point(topic="process", what="telemetry", verdict="good" if off else "bad", found="off" if off else "on", cure=cure)


def told(points: list[Point]) -> dict[str, Any]:
    """For programs."""
    from dataclasses import asdict

    counts = {verdict: sum(point.verdict == verdict for point in points) for verdict in ("good", "note", "bad")}
    return {"ok": not counts["bad"], **counts, "points": [asdict(point) for point in points]}
