"""How does the pool talk to one agent's API? Bounded answers, every one checked before it is used."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edge_agent.errors import AgentUnreachable, EdgeAgentError
from edge_agent.feedback.chain import Header, digest, link
from edge_agent.pool.manifest import Place

if TYPE_CHECKING:
    import httpx

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_PAGE_BYTES = 64_000_000
_BLOB_BYTES = 256_000_000
_PATIENCE, _WAIT_S = 30, 10.0  # how often we wait for an agent that is asked too often, and how long at most


class Line(msgspec.Struct, frozen=True):
    """A record as it comes; the payload stays the bytes that were hashed."""

    agent: str
    site: str
    epoch: int
    seq: int
    kind: str
    loop: str | None
    wall_ns: int
    mono_ns: int
    owner: str
    share: str
    payload: msgspec.Raw
    payload_sha256: str
    blobs: tuple[str, ...]
    prev: str
    hash: str

    @property
    def data(self) -> bytes | None:
        """The payload's bytes; None where retention has dropped it."""
        data = bytes(self.payload)
        return None if data == b"null" else data

    @property
    def place(self) -> Place:
        return Place(self.epoch, self.seq)


class Page(NamedTuple):
    """What one request brought."""

    agent: str
    lines: list[Line]
    last: Place
    more: bool


class Client:
    """One agent. EdgeAgentError for what it refuses or what is wrong with what it sends."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        http: httpx.Client | None = None,
        ca: str | None = None,
        pair: tuple[str, str] | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`ca`: certificates to trust. `pair`: our own certificate and key. The token may be empty where that says who we are.
        `wait`: what passes the seconds that an agent asks for which has been asked too often."""
        import httpx

        self.url = url.rstrip("/")
        timeout = httpx.Timeout(30.0, connect=5.0)
        self._http = http or httpx.Client(timeout=timeout, verify=_tls(ca, pair) if ca or pair else True)
        self._wait = wait or threading.Event().wait
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def page(self, after: Place, limit: int) -> Page:
        """The next records after a place, each with its hash checked."""
        query = {"after": after.seq, "epoch": after.epoch, "limit": limit}
        response, data = self._get("/v1/feedback", _PAGE_BYTES, query)
        try:
            agent = response.headers["edge-agent-name"]
            last = Place(int(response.headers["edge-agent-last-epoch"]), int(response.headers["edge-agent-last-seq"]))
            lines = [msgspec.json.decode(line, type=Line) for line in data.splitlines()]
            more = response.headers["edge-agent-more"] == "true"
        except (KeyError, ValueError) as e:
            raise EdgeAgentError(f"{self.url}: this is no page of an edge agent ({e}); is the address right?") from e
        if not _NAME.fullmatch(agent):
            raise EdgeAgentError(f"{self.url}: calls itself {agent[:40]!r}, which is no agent's name")
        for line in lines:
            self._check(line, agent)
        return Page(agent, lines, last, more)

    def blob(self, sha256: str) -> bytes | None:
        """A blob, its hash checked; None where the agent has it no more."""
        response, data = self._get(f"/v1/blobs/{sha256}", _BLOB_BYTES, missing_is_none=True)
        if response.status_code == 404:
            return None
        if digest(data) != sha256:
            raise EdgeAgentError(f"{self.url}: blob {sha256} came changed; the agent's disk or the way here is bad")
        return data

    def acknowledge(self, consumer: str, place: Place) -> None:
        """Tell the agent what is safe with us."""
        import httpx

        body = {"epoch": place.epoch, "seq": place.seq}
        try:
            response = self._patiently(lambda: self._http.put(f"{self.url}/v1/consumers/{consumer}", json=body, headers=self._headers))
        except httpx.HTTPError as e:
            raise self._unreachable(e) from e
        if response.status_code != 200:
            raise self._refused(response, response.content)

    def _get(
        self, path: str, bound: int, query: dict[str, int] | None = None, *, missing_is_none: bool = False
    ) -> tuple[httpx.Response, bytes]:
        import httpx

        data = bytearray()

        def ask() -> httpx.Response:
            data.clear()
            with self._http.stream("GET", self.url + path, params=query, headers=self._headers) as response:
                for piece in response.iter_bytes():
                    data.extend(piece)
                    if len(data) > bound:
                        raise EdgeAgentError(f"{self.url}{path}: more than {bound} bytes in one answer; this is no edge agent of ours")
            return response

        try:
            response = self._patiently(ask)
        except httpx.DecodingError as e:
            raise EdgeAgentError(f"{self.url}{path}: the answer came garbled ({e}); pull again") from e
        except httpx.HTTPError as e:
            raise self._unreachable(e) from e
        if response.status_code not in ((200, 404) if missing_is_none else (200,)):
            raise self._refused(response, bytes(data))
        return response, bytes(data)

    def _patiently(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Ask again where the agent says that it is asked too often: many blobs are many requests."""
        for _ in range(_PATIENCE):
            response = ask()
            if response.status_code != 429:
                return response
            after = response.headers.get("retry-after", "1")
            self._wait(min(float(after), _WAIT_S) if after.isdecimal() else 1.0)
        return response

    def _check(self, line: Line, agent: str) -> None:
        payload = line.data
        where = f"{self.url}: record {line.epoch}/{line.seq}"
        if line.agent != agent:
            raise EdgeAgentError(f"{where} is of the agent {line.agent[:40]!r}, on a page of {agent!r}")
        head = (
            line.blobs,
            line.epoch,
            line.kind,
            line.loop,
            line.mono_ns,
            line.owner,
            line.payload_sha256,
            line.seq,
            line.share,
            line.wall_ns,
        )
        try:
            whole = payload is None or digest(payload) == line.payload_sha256  # None: dropped by retention
            right = whole and link(bytes.fromhex(line.prev), Header(*head)).hex() == line.hash
        except ValueError:
            right = False
        if not right:
            raise EdgeAgentError(f"{where} is not what its hash says; run `edge-agent ledger verify` on the agent")

    def _refused(self, response: httpx.Response, data: bytes) -> EdgeAgentError:
        try:
            why = str(msgspec.json.decode(data)["error"])
        except (msgspec.DecodeError, KeyError, TypeError):
            why = data[:200].decode("utf-8", "replace")
        return EdgeAgentError(f"{self.url}: {response.status_code}: {why}")

    def _unreachable(self, error: Exception) -> AgentUnreachable:
        return AgentUnreachable(f"{self.url}: no agent answers ({error}); is `edge-agent serve` running there, and the way open?")


def _tls(ca: str | None, pair: tuple[str, str] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if pair:
            context.load_cert_chain(*pair)
    except OSError as e:
        raise EdgeAgentError(f"{ca or ''} {' '.join(pair or ())}: cannot be used for https ({e}); give PEM files") from e
    return context
