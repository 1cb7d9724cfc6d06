"""The control process as systemd sees it: readiness, signals, exit codes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import control
from edge_agent.feedback.verify import verify

pytestmark = pytest.mark.slow


class Process:
    """`edge-agent run` on a rig, and the socket that it tells its state to."""

    def __init__(self, rig: Any) -> None:
        self.log = rig.folder / "log"
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (rig.folder / "notify").unlink(missing_ok=True)
        self.heard.bind(str(rig.folder / "notify"))
        self.heard.settimeout(20)
        environment = os.environ | {"NOTIFY_SOCKET": str(rig.folder / "notify")}
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "edge_agent", "run", str(rig.write())]
            self.process = subprocess.Popen(command, stderr=log, env=environment)

    def until(self, word: str) -> None:
        while word not in self.heard.recv(4096).decode():
            pass

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(timeout=30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.heard.close()


@pytest.fixture
def start(rig: Any) -> Iterator[Any]:
    started: list[Process] = []

    def begin() -> Process:
        started.append(Process(rig))
        return started[-1]

    yield begin
    for process in started:
        process.close()


def arm(rig: Any) -> None:
    """As soon as the loop may be armed; the plant is in trouble from the start, so that it writes at once."""
    ask: dict[str, Any] = {"do": "arm", "loop": "p1", "by": "ann", "reason": "test"}
    path = rig.state / "control.sock"
    while control.ask(path, {"do": "status"})["loops"]["p1"]["execute"]["good_windows"] < 3:
        pass
    control.ask(path, ask)
    while control.ask(path, {"do": "status"})["loops"]["p1"]["execute"]["tags"]["trim"]["value"] != -20.0:
        pass


def test_hup_loads_anew_and_term_takes_the_trim_back_and_ends_with_0(rig: Any, start: Any) -> None:
    rig.said["tags"]["flow"]["mean"] = 15.0
    agent = start()
    agent.until("READY=1")
    arm(rig)
    good = rig.file.read_text()
    rig.file.write_text("version: 2\n")
    agent.signal(signal.SIGHUP)
    agent.until("RELOADING=1")
    agent.until("READY=1")
    rig.file.write_text(good)
    rig.add_loop("p2")
    rig.write()
    agent.signal(signal.SIGHUP)
    agent.until("RELOADING=1")
    agent.until("READY=1")
    loops = control.ask(rig.state / "control.sock", {"do": "status"})["loops"]
    assert {name: loop["mode"] for name, loop in loops.items()} == {"p1": "armed", "p2": "observe"}
    agent.signal(signal.SIGTERM)
    agent.until("STOPPING=1")
    assert agent.end() == 0
    log = agent.log.read_text()
    assert "the new configuration is wrong, the old one goes on" in log
    assert "configuration loaded: loops p2 restarted" in log
    assert "Traceback" not in log
    assert [r.payload["to"] for r in rig.records("mode", "p1")] == ["armed", "shed", "observe"]
    assert rig.records("outcome", "p1")[-1].payload["after"] == 0.0


def test_after_kill_9_the_loop_observes_and_the_ledger_holds(rig: Any, start: Any) -> None:
    rig.said["tags"]["flow"]["mean"] = 15.0
    agent = start()
    agent.until("READY=1")
    arm(rig)
    agent.signal(signal.SIGKILL)
    assert agent.end() == -signal.SIGKILL
    agent.close()
    again = start()
    again.until("READY=1")
    assert control.ask(rig.state / "control.sock", {"do": "status"})["loops"]["p1"]["mode"] == "observe"
    again.signal(signal.SIGINT)
    assert again.end() == 0
    assert verify(rig.state / "ledger").ok


def run(file: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "edge_agent", "run", str(file)], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def test_exit_codes_and_one_line_for_each_cause(rig: Any, start: Any) -> None:
    wrong = rig.folder / "wrong.yaml"
    wrong.write_text("version: 1\nagnet: {}\n")
    code, said = run(wrong)
    assert (code, "did you mean" in said, "Traceback" in said) == (78, True, False)
    agent = start()
    agent.until("READY=1")
    code, said = run(rig.file)
    assert (code, said.count("\n"), "ledger" in said) == (1, 1, True)
    agent.signal(signal.SIGTERM)
    assert agent.end() == 0
    rig.bundle("tiny", sign_it=False)
    code, said = run(rig.file)
    assert (code, "not signed by a trusted key" in said, "Traceback" in said) == (4, True, False)


def test_a_folder_too_long_for_a_socket_is_a_configuration_error(rig: Any) -> None:
    rig.write()
    text = rig.file.read_text().replace(str(rig.state), str(rig.state / ("x" * 100)))
    rig.file.write_text(text)
    code, said = run(rig.file)
    assert (code, "a socket's path has at most 107; choose a shorter folder" in said) == (78, True)
