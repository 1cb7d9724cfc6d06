"""Writes the ledger that later versions must be able to open: python write_released.py. Run once for each schema, at its release."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from edge_agent.clock import ManualClock
from edge_agent.feedback import schema
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.writer import Identity, Limits


async def write(folder: Path) -> None:
    """Records of many kinds, with blobs, labels and a hole."""
    for _ in range(2):
        ledger = Ledger(folder, identity=Identity("a1", "acme", {"p1": "company"}), clock=ManualClock(), limits=Limits(min_free=0))
        ledger.start()
        for n in range(10):
            seq = await ledger.append("window", {"n": n, "x": 0.1 * n}, loop="p1", blobs=[b"blob %d" % n])
            await ledger.append("label", {"about": [seq], "value": "fault"}, loop="p1")
        await ledger.append("intent", {"tag": "speed", "value": -10.0}, loop="p1")
        ledger.append_many([Line("sample", {"tag": "flow", "value": float(n)}) for n in range(20)])
        ledger.close()


if __name__ == "__main__":
    into = Path(__file__).with_name("released") / str(schema.VERSION)
    asyncio.run(write(into))
    with Reader(into) as reader:
        rows = reader.after(Cursor(), 10_000)
    (into / "expected.json").write_text(json.dumps([[row.epoch, row.seq, row.kind, row.hash.hex()] for row in rows]) + "\n")
    for scratch in (into / "lock", *(into / "current").glob("*-shm"), *(into / "current").glob("*-wal")):
        scratch.unlink()
