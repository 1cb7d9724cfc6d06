"""The demo's plant and agent as processes, with a make-believe systemd that listens to what the agent tells it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent import control
from edge_agent.demo.stage import Plant, Stage, source
from edge_agent.errors import EdgeAgentError

LOOP = "pump"
FED_S = 2.0  # how often an agent feeds a watchdog of WATCHDOG_S
WATCHDOG_S = 3 * FED_S


class Manager:
    """Where a service manager listens: NOTIFY_SOCKET. Keeps every message with its moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[tuple[float, str]] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            message = self._sock.recv(65536).decode()
            self.heard.append((time.monotonic(), message))

    def said(self, what: str, since_s: float = 0.0) -> list[float]:
        """When a line like WATCHDOG=1 came."""
        return [at for at, message in list(self.heard) if what in message.splitlines() and at > since_s]


@dataclass
class Theatre:
    """`plant` and `agent` play on a stage of their own; `close` ends everything."""

    folder: Path
    stage: Stage = field(init=False)
    manager: Manager = field(init=False)
    ports: dict[str, int] = field(default_factory=dict)
    _plants: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stage = Stage(self.folder / "demo", source=source(), port=0)
        self.stage.build()
        self.manager = Manager(self.folder / "notify")
        self.stage.environment.update({"NOTIFY_SOCKET": str(self.manager.path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))})

    def close(self) -> None:
        self.stage.stop()
        for process in self._plants:
            _end(process)

    # ------------------------------------------------------------ the plant

    def plant(self, seed: int = 3) -> Plant:
        """A plant, ready; always the same one, on the same ports."""
        ports = [argument for name, port in self.ports.items() for argument in (f"--{name}", str(port))]
        command = [sys.executable, "-m", "edge_agent.demo.plant", "--state", str(self.stage.folder), "--seed", str(seed), *ports]
        log = (self.stage.folder / "plant.log").open("a")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        log.close()
        self._plants.append(process)
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        self.ports = {"opcua": _port(ready["opcua"]), "mqtt": _port(ready["mqtt"])}
        self.stage.environment.update(
            {
                "DEMO_STATE": str(self.state),
                "DEMO_OPCUA_URL": ready["opcua"],
                "DEMO_MQTT_URL": ready["mqtt"],
                "DEMO_PLANT_CERTIFICATE": ready["certificate"],
                "DEMO_MODEL_KEYS": str(self.stage.folder / "keys"),
                "CREDENTIALS_DIRECTORY": str(Path(ready["password_file"]).parent),
            }
        )
        return Plant(process)

    def end_plant(self) -> None:
        """As a power cut does."""
        _end(self._plants[-1])

    # ------------------------------------------------------------ the agent

    @property
    def state(self) -> Path:
        return self.stage.folder / "state"

    def agent(self, *arguments: str, program: Path | None = None) -> subprocess.Popen[str]:
        """The control process, or another program in its place."""
        if program is None:
            return self.stage.start_agent(*arguments)
        return self.stage._start("agent", [sys.executable, str(program), str(self.stage.config), *arguments])

    def ask(self, **request: Any) -> dict[str, Any]:
        """What the agent answers; nothing while it does not."""
        try:
            return control.ask(self.state / "control.sock", request, 5.0)
        except EdgeAgentError:
            return {}

    def page(self) -> dict[str, Any]:
        return self.ask(do="status")

    def loop(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page().get("loops", {}).get(LOOP, {})
        return found

    def until(self, what: str, holds: Callable[[], Any], within_s: float = 40.0, every_s: float = 0.05) -> float:
        """Seconds until it was so."""
        start = time.monotonic()
        while not holds():
            waited = time.monotonic() - start
            assert waited < within_s, f"waited {within_s} s for {what}; {self.loop() or self.log()[-3000:]}"
            time.sleep(every_s)
        return time.monotonic() - start

    def log(self) -> str:
        return (self.stage.folder / "agent.log").read_text()

    def diagnosing(self) -> None:
        self.until("a diagnosis", lambda: (self.loop().get("diagnosis") or {}).get("status") == "ok")

    def arm(self) -> None:
        asked = {"do": "arm", "loop": LOOP, "reason": "test", "by": "test", "for": "1h"}
        self.until("arming", lambda: self.ask(**asked).get("mode") == "armed")

    def bite(self, plant: Plant) -> None:
        """Armed, and a trim stands in the PLC."""
        self.diagnosing()
        self.arm()
        plant.order({"fault": "suction_valve", "severity": 0.7, "ramp_s": 2})
        self.until("the trim", lambda: setpoint(plant) < 0, 60.0)


def setpoint(plant: Plant) -> float:
    """The trim as the PLC has it, before its ramp."""
    return float(plant.order({"state": True})["trim_setpoint"])


def _port(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
