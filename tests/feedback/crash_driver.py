"""Writers that are killed: run as a program by test_kill.py. Forks a writer, reads what it acknowledges, kills it with SIGKILL.

python crash_driver.py FOLDER KILLS       prints one line of JSON: the acknowledged [epoch, seq, n] of every life
"""

import asyncio
import json
import os
import random
import signal
import struct
import sys
import threading
from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.errors import LedgerError
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.writer import Identity, Limits

_ACK = struct.Struct("<qqq")


async def write(folder: Path, out: int, life: int) -> None:
    """Append without end: intents and blobs one by one, samples in batches beside them."""
    limits = Limits(max_size=3e5 if life % 3 == 2 else 2e9, min_free=0)  # every third life is short of room: retention is killed, too
    ledger = Ledger(folder, identity=Identity("a1", "acme"), clock=SystemClock(), limits=limits)
    ledger.start()
    lock = threading.Lock()
    n = 0
    while True:
        n += 1
        with lock:
            ledger.append_many([Line("sample", {"life": life, "n": n, "k": k}) for k in range(20)])
        try:
            blobs = [os.urandom(200)] if n % 3 == 0 else []
            seq = await ledger.append("intent", {"life": life, "n": n, "x": "y" * 300}, blobs=blobs)
        except LedgerError:
            continue
        os.write(out, _ACK.pack(ledger.epoch, seq, n))


def life(folder: Path, number: int, chance: random.Random) -> list[tuple[int, int, int]]:
    """One writer from birth to SIGKILL; what it acknowledged."""
    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(into)
        asyncio.run(write(folder, out, number))
    os.close(out)
    acknowledged = [_ACK.unpack(os.read(into, _ACK.size)) for _ in range(chance.randint(1, 25))]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while rest := os.read(into, _ACK.size):
        acknowledged.append(_ACK.unpack(rest))
    os.close(into)
    return acknowledged


if __name__ == "__main__":
    chance = random.Random(7)
    print(json.dumps([life(Path(sys.argv[1]), number, chance) for number in range(int(sys.argv[2]))]))
