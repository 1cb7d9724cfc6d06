"""How do an agent's records come into the pool once, and only once, whatever is killed when?

    DIR/AGENT/manifest.json     cursor and files: the truth
    DIR/AGENT/*.parquet         one a committed batch
    DIR/AGENT/blobs/ab/abcd...  by their SHA-256

Order of a batch: blobs, Parquet file, manifest (the commit), acknowledgement to the agent. What dies before the manifest
was replaced is pulled again, and its stray file removed; what dies after it is only acknowledged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.blobs import Blobs, write_durably
from edge_agent.pool import manifest as manifests
from edge_agent.pool.client import Client, Line, Page
from edge_agent.pool.manifest import Batch, Manifest, Place
from edge_agent.pool.parquet import pack

_PAGE = 2000
_BATCH_RECORDS, _BATCH_BYTES = 20_000, 64_000_000

Progress = Callable[[str, str, int], None]
"""Called after each step with the agent, the step and the records stored so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What one pull of one agent did."""

    url: str
    agent: str
    records: int
    blobs: int
    files: int
    missing_blobs: int
    cursor: tuple[int, int]
    in_pool: int


def pull(client: Client, into: Path, *, consumer: str, progress: Progress = lambda agent, step, records: None) -> Pulled:
    """Fetch everything that is new. EdgeAgentError; run it again, it goes on where it stood."""
    agent = client.page(Place(), 1).agent
    folder = into / agent
    with manifests.locked(folder):
        return _Pull(client, into, agent, consumer, progress).run()


class _Pull:
    """One run."""

    def __init__(self, client: Client, into: Path, agent: str, consumer: str, progress: Progress) -> None:
        self._client, self._agent, self._consumer = client, agent, consumer
        self._folder = into / agent
        self._blobs = Blobs(self._folder / "blobs")
        self._tell: Callable[[str], None] = lambda step: progress(agent, step, self._records)
        self._records = self._fetched = self._missing = self._files = 0

    def run(self) -> Pulled:
        manifest = manifests.read(self._folder, self._agent)
        manifests.sweep(self._folder, manifest)
        self._blobs.folder.mkdir(exist_ok=True)
        self._same_ledger(manifest)
        for lines, cursor in self._batches(manifest):
            manifest = self._commit(manifest, lines, cursor)
        self._acknowledge(manifest)
        return Pulled(
            url=self._client.url,
            agent=self._agent,
            records=self._records,
            blobs=self._fetched,
            files=self._files,
            missing_blobs=self._missing,
            cursor=(manifest.cursor.epoch, manifest.cursor.seq),
            in_pool=manifest.records,
        )

    def _same_ledger(self, manifest: Manifest) -> None:
        """The record that we stored last must be the agent's own still, or gone; else another ledger bears this name."""
        if not manifest.files:
            return
        tip = manifest.tip
        page = self._client.page(Place(tip.epoch, tip.seq - 1), 1)
        there = page.lines[0] if page.lines else None
        if there and there.place == tip and there.hash != manifest.tip_hash:
            raise EdgeAgentError(
                f"{self._client.url}: another ledger answers under the name {self._agent!r}; give each agent a name of its own"
            )
        if not page.more and page.last < manifest.cursor and page.last < tip:
            raise EdgeAgentError(
                f"{self._client.url}: the ledger of {self._agent!r} ends before what the pool has already; was it restored from a backup,"
                " or its clock wrong when it first started? Pull it into a new folder"
            )

    def _batches(self, manifest: Manifest) -> Iterator[tuple[list[Line], Place]]:
        lines: list[Line] = []
        size, cursor, more = 0, manifest.cursor, True
        follow = _Follow(manifest)
        while more:
            page = self._page(cursor)
            follow.check(page, self._client.url)
            lines += page.lines
            size += sum(len(bytes(line.payload)) for line in page.lines)
            cursor, more = page.last, page.more
            if lines and (len(lines) >= _BATCH_RECORDS or size >= _BATCH_BYTES or not more):
                yield lines, cursor
                lines, size = [], 0
        if lines or cursor > manifest.cursor:
            yield lines, cursor

    def _page(self, cursor: Place) -> Page:
        page = self._client.page(cursor, _PAGE)
        self._tell("page")
        if page.agent != self._agent:
            raise EdgeAgentError(f"{self._client.url}: was {self._agent!r}, now says {page.agent!r}; pull again")
        if page.more and page.last <= cursor:
            raise EdgeAgentError(f"{self._client.url}: says there is more, but does not get on from epoch {cursor.epoch}, seq {cursor.seq}")
        return page

    def _commit(self, manifest: Manifest, lines: list[Line], cursor: Place) -> Manifest:
        if lines:
            missing = self._fetch_blobs(lines)
            first, last = lines[0].place, lines[-1].place
            name = f"{first.epoch}-{first.seq:012d}-{last.epoch}-{last.seq:012d}.parquet"
            write_durably(self._folder / name, pack(lines))
            self._tell("parquet")
            batch = Batch(name=name, records=len(lines), first=first, last=last)
            manifest = msgspec.structs.replace(
                manifest, files=(*manifest.files, batch), tip=last, tip_hash=lines[-1].hash, missing_blobs=manifest.missing_blobs + missing
            )
            self._files += 1
        manifest = msgspec.structs.replace(manifest, cursor=max(cursor, manifest.cursor))
        manifests.write(self._folder, manifest)
        self._records += len(lines)
        self._tell("manifest")
        return manifest

    def _fetch_blobs(self, lines: list[Line]) -> int:
        missing = 0
        for name in dict.fromkeys(name for line in lines if line.data is not None for name in line.blobs):
            if self._blobs.path(name).exists():
                continue
            data = self._client.blob(name)
            if data is None:
                missing += 1
                continue
            self._blobs.put(data)
            self._fetched += 1
            self._tell("blob")
        self._missing += missing
        return missing

    def _acknowledge(self, manifest: Manifest) -> None:
        if manifest.cursor > Place():
            self._client.acknowledge(self._consumer, manifest.cursor)
            self._tell("acknowledged")


class _Follow:
    """Records follow one another: rising, and chained wherever they are neighbours of one epoch (a new epoch may stand in a
    new file, after a damaged one was set aside)."""

    def __init__(self, manifest: Manifest) -> None:
        self._last, self._hash = manifest.tip, manifest.tip_hash

    def check(self, page: Page, url: str) -> None:
        """EdgeAgentError where they do not."""
        for line in page.lines:
            if line.place <= self._last:
                raise EdgeAgentError(f"{url}: record {line.epoch}/{line.seq} comes after {self._last.epoch}/{self._last.seq}; out of order")
            if line.place == Place(self._last.epoch, self._last.seq + 1) and line.prev != self._hash:
                raise EdgeAgentError(f"{url}: record {line.epoch}/{line.seq} does not follow the record before it; its ledger was changed")
            self._last, self._hash = line.place, line.hash
