"""What survives our own crash, so that the server's subscription can be taken up again by the next process?

Two files, each written beside and renamed. `attached.json`: session, subscription and items, written when they change and twice
a minute. `place.json`: the last message whose values are safe, once a second; only then is it acknowledged to the server.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge_agent.clock import Clock
from edge_agent.opcua.channel import Session
from edge_agent.opcua.options import Options, Wanted
from edge_agent.opcua.server import Server

ATTACHED_EVERY_S, FIRST_VALUES_S = 30.0, 2.0
PLACE_EVERY_S = 1.0
_ATTACHED, _PLACE = "attached.json", "place.json"
_MALFORMED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A subscription as the server revised it. Times in seconds."""

    id: int
    publish_s: float
    keep_alive_s: float
    lifetime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far the subscription's messages are safe. `drained_ns`: when its queues were last known to be empty."""

    subscription: int
    last: int
    drained_ns: int  # monotonic, of the boot in which it was written
    wall_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What an earlier process was attached to."""

    session: Session | None  # None: it left in good order, or the configuration of the tags has changed
    server: Server
    terms: Terms
    place: Place
    items: Mapping[str, Mapping[str, Any]]  # tag -> Items.memory()


class Memory:
    """One connection's two files."""

    def __init__(self, options: Options, wanted: Sequence[Wanted], clock: Clock) -> None:
        self._folder, self._clock = options.state, clock
        self._who = _digest(options.url, str(options.security), options.login.user, options.agent)
        self._what = _digest([asdict(w) for w in wanted], options.publish_s, options.keep_alive_s, options.outage_s)

    def recall(self) -> Attached | None:
        """What the last process left behind for this very server and login; None where there is nothing of use."""
        try:
            said = json.loads((self._folder / _ATTACHED).read_bytes())
            if said["who"] != self._who:
                return None
            terms = Terms(**said["terms"])
            session = _session(said["session"]) if said["session"] and said["what"] == self._what else None
            place = self._place(terms.id, said)
            return Attached(session=session, server=Server(**said["server"]), terms=terms, place=place, items=dict(said["items"]))
        except _MALFORMED:
            return None  # there is none, or the mains failed while it was written: a new subscription, as ever

    def _place(self, subscription: int, said: Mapping[str, Any]) -> Place:
        first = Place(subscription=subscription, last=0, drained_ns=said["drained_ns"], wall_ns=said["wall_ns"])
        with suppress(*_MALFORMED):
            place = Place(**json.loads((self._folder / _PLACE).read_bytes()))
            return place if place.subscription == subscription else first
        return first

    def attach(self, session: Session, server: Server, terms: Terms, drained_ns: int, items: Mapping[str, Any]) -> None:
        """Keep what the next process needs. OSError. Blocking: from a thread of its own."""
        said = {
            "who": self._who,
            "what": self._what,
            "session": _written(session),
            "server": asdict(server),
            "terms": asdict(terms),
            "drained_ns": drained_ns,
            "wall_ns": self._clock.wall_ns(),
            "items": items,
        }
        self._write(_ATTACHED, said, durable=True)

    def place(self, terms: Terms, last: int, drained_ns: int) -> None:
        """Keep how far the messages are safe. OSError. A power cut may lose the newest of these: then values come twice, or
        their messages are gone, which is found out by their numbers."""
        place = Place(subscription=terms.id, last=last, drained_ns=drained_ns, wall_ns=self._clock.wall_ns())
        self._write(_PLACE, asdict(place), durable=False)

    def leave(self) -> None:
        """The session was closed in good order: the next process begins a new one, and declares what it missed."""
        with suppress(*_MALFORMED):
            said = json.loads((self._folder / _ATTACHED).read_bytes())
            self._write(_ATTACHED, said | {"session": None}, durable=False)

    def _write(self, name: str, said: Mapping[str, Any], *, durable: bool) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{name}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(said).encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(self._folder / name)


def shifted(place: Place, clock: Clock) -> Place:
    """The same moment on the present monotonic clock: as long ago as the wall clock says, at least nothing. Boots come between."""
    away_ns = max(0, clock.wall_ns() - place.wall_ns)
    return replace(place, drained_ns=clock.mono_ns() - away_ns)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _written(session: Session) -> dict[str, Any]:
    from asyncua.ua.ua_binary import struct_to_binary

    policies = [struct_to_binary(policy).hex() for policy in session.policies]
    return {"token": session.token.to_string(), "nonce": session.nonce.hex() if session.nonce else None, "policies": policies}


def _session(said: Mapping[str, Any]) -> Session:
    from asyncua import ua
    from asyncua.common.utils import Buffer
    from asyncua.ua.ua_binary import struct_from_binary

    policies = [struct_from_binary(ua.UserTokenPolicy, Buffer(bytes.fromhex(p))) for p in said["policies"]]
    nonce = bytes.fromhex(said["nonce"]) if said["nonce"] else None
    return Session(token=ua.NodeId.from_string(said["token"]), nonce=nonce, policies=policies)
