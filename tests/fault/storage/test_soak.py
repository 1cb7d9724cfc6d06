"""Long work while the disk fails, worker and API are killed, loops are armed and disarmed: does anything grow?

EDGE_AGENT_SOAK_MIN says for how many minutes (6 unless it says so); the first fifth is left out, caches fill then.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from small_disk import SmallDisk, Switch
from whole_agent import WholeAgent, until

from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.feedback.verify import verify

Figure = Callable[..., None]
MINUTES = float(os.environ.get("EDGE_AGENT_SOAK_MIN", "6"))

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("mounts")]


class Look(NamedTuple):
    """What the control process uses."""

    at_s: float
    rss_mb: float
    files: int
    threads: int


class Soaked:
    """The whole agent on a small disk of its own."""

    def __init__(self, memory: Path, folder: Path) -> None:
        self.disk = SmallDisk(memory, megabytes=64, inodes=4096)
        self.switch = Switch(memory, self.disk.folder)
        self.agent = WholeAgent(folder, state=self.disk.folder / "state", every="50 ms", min_free="1 kB")
        text = self.agent.config.read_text().replace("ledger: {min_free: 1 kB}", "ledger: {min_free: 1 kB, max_size: 10 MB}")
        self.agent.config.write_text(text)
        self.looks: list[Look] = []

    def start(self) -> None:
        self.agent.start_control(preload=self.switch.environment)
        self.agent.start_api()
        until("the loop to be armed", self.agent.arm)

    def end(self) -> None:
        self.agent.kill()
        self.disk.unmount()

    def look(self) -> None:
        assert self.agent.control is not None
        assert self.agent.control.poll() is None, f"the agent ended by itself: {self.agent.log[-2000:]}"
        process = Path("/proc") / str(self.agent.control.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
        rss_mb = int(status["VmRSS"].split()[0]) / 1024
        self.looks.append(Look(time.monotonic(), rss_mb, len(list((process / "fd").iterdir())), int(status["Threads"])))

    def fault(self, chance: random.Random) -> str:
        """One thing goes wrong, for a while, and is mended."""
        kind = chance.choice(("EIO", "full", "worker killed", "API killed", "disarmed and armed"))
        if kind == "EIO":
            self.switch.fail("write", "fsync")
            time.sleep(chance.uniform(0.2, 3.0))
            self.switch.fail()
        elif kind == "full":
            self.disk.fill()
            time.sleep(chance.uniform(0.2, 3.0))
            self.disk.make_room()
        elif kind == "worker killed":
            for worker in self.agent.workers():
                os.kill(worker, signal.SIGKILL)
        elif kind == "API killed":
            assert self.agent.api is not None
            self.agent.api.kill()
            self.agent.api.wait()
            self.agent.start_api()
        else:
            self.agent.ask(do="disarm", loop="pump", by="ann")
            until("it to be armed again", self.agent.arm, 60)
        return kind


@pytest.fixture
def soaked(memory: Path, tmp_path: Path) -> Iterator[Soaked]:
    made = Soaked(memory, tmp_path)
    yield made
    made.end()


def per_hour(looks: list[Look], value: Callable[[Look], float]) -> float:
    """How much it grows in an hour, by a straight line through what was seen."""
    return statistics.linear_regression([look.at_s for look in looks], [value(look) for look in looks]).slope * 3600


def nothing_grows(soaked: Soaked, seconds: float, figure: Figure) -> None:
    chance, faults = random.Random(1), Counter[str]()
    soaked.start()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        until_s = time.monotonic() + chance.uniform(2.0, 8.0)
        while time.monotonic() < until_s:
            soaked.look()
            time.sleep(0.5)
        faults[soaked.fault(chance)] += 1
    until("the ledger to be well at the end", lambda: soaked.agent.ask(do="status").get("ledger", {}).get("healthy"))
    soaked.look()
    assert soaked.agent.stop() == 0
    settled = [look for look in soaked.looks if look.at_s - began > seconds / 5]
    told = {
        "minutes": round(seconds / 60, 1),
        "faults": faults.total(),
        **{name.replace(" ", "_"): n for name, n in sorted(faults.items())},
    }
    grows = per_hour(settled, lambda look: look.rss_mb)
    rss = statistics.median(look.rss_mb for look in settled)
    files, threads = ([getattr(look, name) for look in (settled[0], settled[-1])] for name in ("files", "threads"))
    figure(
        "soak",
        **told,
        rss=f"{rss:.0f} MB",
        rss_grows=f"{grows:+.1f} MB/h ({100 * grows / rss:+.1f} %/h)",
        open_files=f"{files[0]} to {files[1]}",
        threads=f"{threads[0]} to {threads[1]}",
        records=check_the_ledger(soaked),
        open_obligations=0,
    )
    assert files[1] <= files[0] + 3
    assert threads[1] <= threads[0] + 1
    assert soaked.looks[-1].rss_mb < 1.1 * settled[0].rss_mb + 2, "memory does not grow"


def check_the_ledger(soaked: Soaked) -> int:
    """It verifies, and every intent in it has an outcome. The number of the newest record."""
    folder = soaked.agent.state / "ledger"
    assert verify(folder).findings == []
    with Reader(folder) as reader:
        rows = reader.after(Cursor(), 10_000_000)
    outcomes = {payload_of(row).get("intent") for row in rows if row.kind == "outcome" and row.payload is not None}
    intents = {row.seq for row in rows if row.kind == "intent"}
    assert intents, "progress was made"
    assert intents - outcomes == set(), "no obligation is open"
    return rows[-1].seq


@pytest.mark.timeout(120)
def test_half_a_minute_of_faults_leaves_nothing_open(soaked: Soaked, figure: Figure) -> None:
    nothing_grows(soaked, 20.0, figure)


@pytest.mark.torture
@pytest.mark.timeout(MINUTES * 60 + 300)
def test_minutes_of_faults_let_nothing_grow(soaked: Soaked, figure: Figure) -> None:
    nothing_grows(soaked, MINUTES * 60, figure)
