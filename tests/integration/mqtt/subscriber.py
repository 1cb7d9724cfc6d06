"""A process to be killed: stores every sample of tag `n` in a file and commits late. Arguments: url file state version reading."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from connectors.mqtt import Config, Connector, Tag
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup
from edge_agent.messages import Gap, LinkState, Sample


class Disk:
    """Group commit, as the ledger does it: a thread writes what came, syncs, then says so."""

    def __init__(self, file: Path) -> None:
        self._out = file.open("ab", buffering=0)
        self._waiting: list[tuple[Sequence[Sample], Callable[[], None] | None]] = []
        self._came = threading.Condition()
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        while True:
            with self._came:
                self._came.wait_for(lambda: self._waiting, 1.0)
                batches, self._waiting = self._waiting, []
            self._out.write(b"".join(b"%d\n" % int(s.value) for batch, _ in batches for s in batch))  # type: ignore[arg-type]
            os.fsync(self._out.fileno())
            for _, committed in batches:
                if committed:
                    committed()

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        with self._came:
            self._waiting.append((batch, committed))
            self._came.notify()

    def gap(self, gap: Gap) -> None: ...

    def link(self, state: LinkState) -> None:
        print(state.state, flush=True)

    def alive(self, connector: str, mono_ns: int) -> None: ...


def main(url: str, file: str, state: str, version: str, bulk: str) -> None:
    config = Config.model_validate(
        {
            "type": "mqtt",
            "url": url,
            "version": 5 if version == "5" else "3.1.1",
            "client_id": "victim",
            "bulk": bulk == "bulk",
            "receive_maximum": 50,
        }
    )
    tags = {"n": Tag.model_validate({"from": "bus", "topic": "count"})}
    setup = Setup(name="bus", clock=SystemClock(), state=Path(state), agent="test")
    asyncio.run(Connector(config, tags, setup).run(Disk(Path(file))))


if __name__ == "__main__":
    main(*sys.argv[1:])
