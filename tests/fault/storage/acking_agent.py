"""The whole agent on the sim connector, telling outside what it acknowledged: python acking_agent.py ACKS LIFE [early] COMMAND...

Each batch of samples carries its number in the tag `count`; once the agent says that the batch is committed, (LIFE, number) is
appended to the file ACKS. `early` acknowledges at once, as many a gateway does (the control: it must lose).
"""

from __future__ import annotations

import os
import struct
import sys
from functools import partial
from pathlib import Path
from typing import Any

from connectors import sim
from edge_agent import cli
from edge_agent.contracts import Sink
from edge_agent.messages import LinkState

ACK = struct.Struct("<qq")
LIFE = 1_000_000  # batches that a life may have


class Connector(sim.Connector):
    """The sim, with numbered batches and acknowledgements that are seen outside."""

    out: int
    life: int
    early: bool

    async def run(self, sink: Sink) -> None:
        clock, every, n = self._setup.clock, self._config.every, 0
        sink.link(LinkState(connector=self._setup.name, state="up", reason="make-believe", mono_ns=clock.mono_ns()))
        self._running = True
        while True:
            n += 1
            batch = [s._replace(value=float(self.life * LIFE + n)) if s.tag == "count" else s for s in self._tick(n * every)]
            sink.samples(batch, None if self.early else partial(self._acknowledge, n))
            if self.early:
                self._acknowledge(n)
            await clock.sleep(every)

    def _acknowledge(self, n: int) -> None:
        os.write(self.out, ACK.pack(self.life, n))


def main(acks: Path, life: int, early: bool, command: list[str]) -> Any:
    Connector.out = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    Connector.life, Connector.early = life, early
    sim.Connector = Connector  # type: ignore[misc]
    sys.argv = ["edge-agent", *command]
    return cli.main()


if __name__ == "__main__":
    given = sys.argv[1:]
    early = "early" in given
    given.remove("early") if early else None
    sys.exit(main(Path(given[0]), int(given[1]), early, given[2:]))
