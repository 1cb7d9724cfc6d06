"""Do the real programs work together: `edge-agent serve`, `pool pull`, kill -9 in between?"""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from edge_agent.clock import ManualClock
from edge_agent.config.model import File
from edge_agent.feedback.ledger import Ledger
from edge_agent.pool.manifest import read

pytestmark = pytest.mark.anyio

CONFIG = """\
version: 1
agent: {name: a1, owner: acme, state: STATE}
connectors: {}
tags: {}
api:
  port: 0
  tokens: [{name: pool, token: !secret pool}]
"""


@pytest.fixture
def served(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real `edge-agent serve` before the ledger; its address."""
    (tmp_path / "pool").write_text("secret")
    (tmp_path / "pool").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    config = tmp_path / "a1.yaml"
    config.write_text(CONFIG.replace("STATE", str(tmp_path / "state")))
    process = subprocess.Popen([sys.executable, "-m", "edge_agent", "serve", str(config)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "listening on http://127.0.0.1:" in line, line + process.stderr.read()
    yield line.split()[-1]
    process.terminate()
    assert process.wait(10) in (0, -signal.SIGTERM)
    process.stderr.close()


def puller(url: str, into: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "edge_agent",
        "pool",
        "pull",
        url,
        "--into",
        str(into),
        "--token-file",
        str(into.parent / "pool"),
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def fill(ledger: Ledger, count: int) -> None:
    for n in range(count):
        await ledger.append("window", {"n": n}, blobs=[b"blob %d" % n])


async def test_serve_and_pull_work_as_programs(served: str, ledger: Ledger, tmp_path: Path) -> None:
    await fill(ledger, 10)
    process = puller(served, tmp_path / "into")
    (done,) = json.loads(process.communicate(timeout=30)[0])["pulled"]
    assert (process.returncode, done["records"], done["blobs"]) == (0, 11, 10)


@pytest.mark.slow
async def test_a_pull_killed_again_and_again_ends_with_everything_once(
    served: str, ledger: Ledger, tmp_path: Path, file: File, clock: ManualClock
) -> None:
    await fill(ledger, 400)
    into, chance, killed = tmp_path / "into", random.Random(3), 0
    for _ in range(12):
        process = puller(served, into)
        try:
            process.wait(chance.uniform(0.3, 2.0))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.communicate()
    puller(served, into).communicate(timeout=30)
    manifest = read(into / "a1", "a1")
    seqs = [seq for batch in manifest.files for seq in pq.read_table(into / "a1" / batch.name)["seq"].to_pylist()]
    assert killed
    assert seqs == list(range(1, 402))
    assert len([f for f in (into / "a1" / "blobs").rglob("*") if f.is_file()]) == 400
