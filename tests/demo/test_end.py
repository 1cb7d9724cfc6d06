"""Does the demo leave nothing behind, however it is ended?"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def _of(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
        if str(folder) in line and str(os.getpid()) != process.parent.name:
            found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_process_outlives_a_demo_that_is_ended(how: signal.Signals, tmp_path: Path) -> None:
    state = tmp_path / "stage"
    demo = subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "demo", "--state", str(state)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert demo.stdout
    page = next(line for line in demo.stdout if "local page" in line)
    assert re.search(r"http://127\.0\.0\.1:\d+/", page)
    while len(_of(state)) < 4:  # the driver, the plant, the agent, the API
        assert demo.poll() is None
        time.sleep(0.1)
    demo.send_signal(how)
    _, said = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert said.strip() == "interrupted"
    assert _of(state) == []
