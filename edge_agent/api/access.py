"""Who is asking, and what may they see? Closed as long as no token is configured."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge_agent.config.model import Clearance, Token

Right = Literal["read", "label"]

_VISIBLE: dict[Clearance, frozenset[str]] = {
    "site": frozenset({"site", "company", "consortium"}),
    "company": frozenset({"company", "consortium"}),
    "consortium": frozenset({"consortium"}),
}
"""A record travels as far as its share says: who is further away sees less."""


class Denied(Exception):
    """The caller may not; `status` is the HTTP status."""

    def __init__(self, status: int, what: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what)
        self.status, self.headers = status, dict(headers or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A consumer that showed a right token."""

    name: str
    clearance: Clearance
    may: frozenset[Right]

    @property
    def shares(self) -> frozenset[str]:
        """The shares of the records that this caller may see."""
        return _VISIBLE[self.clearance]

    def need(self, right: Right) -> None:
        """Denied unless the token has this right."""
        if right not in self.may:
            raise Denied(
                403, f"the token {self.name!r} may not {right}; add {right} to its `may` in the agent's configuration (api.tokens)"
            )


class _Key(NamedTuple):
    """What opens: the digest of a token, the name in a client certificate, or both together."""

    digest: bytes | None
    certificate: str | None
    caller: Caller


class Access:
    """The configured tokens. Compared in constant time, by their digests, all of them every time."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.replace(tokens)

    def replace(self, tokens: Sequence[Token]) -> None:
        """From now on these open, and no others."""
        self._known = [key for token in tokens for key in _keys(token)]

    def caller(self, authorization: str, *, page: bool = False, certificate: str = "") -> Caller:
        """Who this is. Denied if nobody. `page`: a browser may send the token as the password of HTTP Basic. `certificate`: the
        common name of the client certificate that was shown and checked on this connection."""
        if not self._known:
            raise Denied(
                403, "the API is closed: no token is configured; name one under `api: {tokens: [...]}` and restart `edge-agent serve`"
            )
        shown = _digest(_secret(authorization, page))
        found: Caller | None = None
        for key in self._known:
            right = key.digest is None or hmac.compare_digest(key.digest, shown)
            found = key.caller if right and key.certificate in (None, certificate) else found
        if found is None:
            challenge = 'Basic realm="edge-agent: any name, the token as password"' if page else 'Bearer realm="edge-agent"'
            raise Denied(401, "no valid token; send the header `Authorization: Bearer TOKEN`", {"WWW-Authenticate": challenge})
        return found


def _keys(token: Token) -> list[_Key]:
    caller = Caller(name=token.name, clearance=token.clearance, may=frozenset(token.may))
    secrets = [secret.get_secret_value() for secret in (token.token, token.previous) if secret is not None]
    if not secrets:
        return [_Key(None, token.certificate, caller)] if token.certificate else []
    return [_Key(_digest(secret.encode()), token.certificate, caller) for secret in secrets if secret]


def _secret(authorization: str, page: bool) -> bytes:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if page and scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
