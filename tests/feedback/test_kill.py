"""Is what was acknowledged still there after the process was killed, again and again?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.feedback.verify import verify

DRIVER = Path(__file__).with_name("crash_driver.py")


def lives(folder: Path, kills: int) -> list[list[tuple[int, int, int]]]:
    done = subprocess.run([sys.executable, str(DRIVER), str(folder), str(kills)], capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    return [[(e, s, n) for e, s, n in life] for life in json.loads(done.stdout)]


def check(folder: Path, kills: int) -> int:
    found = lives(folder, kills)
    assert len(found) == kills
    assert all(found), "every life made progress"
    report = verify(folder)
    assert report.ok, report.findings
    assert report.records + report.removed_records == report.last, "seq is dense, but for what retention vouches for"
    assert len(report.epochs) == kills
    with Reader(folder) as reader:
        rows = {row.seq: row for row in reader.after(Cursor(), 1_000_000)}
        holes = reader.holes()
    for number, life in enumerate(found):
        for epoch, seq, n in life:
            if seq not in rows:
                assert any(first <= seq <= last for first, last, _, _ in holes)
            elif rows[seq].payload is not None:
                assert (rows[seq].epoch, payload_of(rows[seq])["life"], payload_of(rows[seq])["n"]) == (epoch, number, n)
    return sum(map(len, found))


def test_two_dozen_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert check(tmp_path / "ledger", 24) >= 24


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_three_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert check(tmp_path / "ledger", 300) >= 300
