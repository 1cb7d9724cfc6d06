"""What stands on the demo's stage? A folder of its own, the plant, the agent and its API, each a process, all gone at the end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from edge_agent.errors import EdgeAgentError
from edge_agent.lifecycle.sign import keygen, sign

MODEL = "demo-pump"
_STOP_S = 45.0


class Plant:
    """The make-believe plant's process; orders go in, the true state comes back."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order; the plant's true state. EdgeAgentError if it refuses or is gone."""
        with self._lock:
            assert self._process.stdin and self._process.stdout  # noqa: S101 - opened as pipes
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(reply or '{"ok": false, "error": "the plant is gone"}')
        if not answer["ok"]:
            raise EdgeAgentError(f"the plant: {answer['error']}")
        return answer


class Stage:
    """Builds the folder, starts the processes, ends them in reverse."""

    def __init__(self, folder: Path, *, source: Path, port: int) -> None:
        """`source` is where configs/ and models/ lie; `port` the API's, 0 for any free one."""
        self.folder, self.port = folder, port or free_port()
        self.config = folder / "configs" / "demo.yaml"
        self.token_file = folder / "configs" / "secrets" / "demo_pool_token"
        self._source = source
        self._processes: list[tuple[str, subprocess.Popen[str]]] = []
        self._logs: list[IO[str]] = []
        self._environment = dict(os.environ)

    @property
    def url(self) -> str:
        """The API and the local page."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the agent's commands need to find this configuration's values."""
        return self._environment

    def build(self) -> None:
        """Copy the configuration and the model, sign the model with a key made for this run."""
        (self.folder / "configs").mkdir(parents=True)
        shutil.copy(self._source / "configs" / "demo.yaml", self.config)
        model = self.folder / "models" / MODEL
        shutil.copytree(self._source / "models" / MODEL, model, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        (self.folder / "keys").mkdir()
        private, _, _ = keygen(self.folder / "keys", "demo")
        sign(model, private)
        self.token_file.parent.mkdir(mode=0o700)
        (self.folder / "secrets").symlink_to(self.token_file.parent)  # where the plant leaves its password
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(secrets.token_urlsafe(24) + "\n")

    def start_plant(self, seed: int) -> Plant:
        """The plant, ready."""
        command = [sys.executable, "-m", "edge_agent.demo.plant", "--state", str(self.folder), "--seed", str(seed)]
        process = self._start("plant", command, pipes=True)
        assert process.stdout  # noqa: S101 - opened as a pipe
        line = process.stdout.readline()
        if not line:
            raise EdgeAgentError(f"the plant did not start; see {self.folder / 'plant.log'}")
        ready = json.loads(line)
        self._fill_in(
            DEMO_STATE=str(self.folder / "state"),
            DEMO_OPCUA_URL=ready["opcua"],
            DEMO_MQTT_URL=ready["mqtt"],
            DEMO_PLANT_CERTIFICATE=ready["certificate"],
            DEMO_MODEL_KEYS=str(self.folder / "keys"),
        )
        return Plant(process)

    def _fill_in(self, **values: str) -> None:
        """Write the values into the copied configuration, so that every command works on it from any terminal."""
        text = self.config.read_text()
        for name, value in values.items():
            text = text.replace(f"!env {name}", json.dumps(value))
        self.config.write_text(text)

    def start_agent(self, *arguments: str) -> subprocess.Popen[str]:
        """The control process."""
        return self._start("agent", [sys.executable, "-m", "edge_agent", "run", str(self.config), *arguments])

    def start_api(self) -> subprocess.Popen[str]:
        """The API process."""
        return self._start("api", [sys.executable, "-m", "edge_agent", "serve", str(self.config), "--port", str(self.port)])

    def command(self, *arguments: str) -> list[str]:
        """An edge-agent command line for this stage."""
        return [sys.executable, "-m", "edge_agent", *arguments]

    def dead(self) -> str:
        """Names of processes that ended although nobody asked; "" for none."""
        return ", ".join(
            f"{name} (exit {p.returncode}, see {self.folder / name}.log)" for name, p in self._processes if p.poll() is not None
        )

    def stop(self) -> None:
        """End everything, the last started first."""
        for _, process in reversed(self._processes):
            end(process)
        for log in self._logs:
            log.close()
        self._processes.clear()

    def _start(self, name: str, command: list[str], *, pipes: bool = False) -> subprocess.Popen[str]:
        log = (self.folder / f"{name}.log").open("w")
        self._logs.append(log)
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else log,
            stderr=log,
            text=True,
            env=self._environment,
            start_new_session=True,  # Ctrl-C ends the driver, which ends these in order
        )
        self._processes.append((name, process))
        return process


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, and SIGKILL for one that does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def source() -> Path:
    """The folder that holds configs/ and models/: the checkout, or where they were installed."""
    here = Path(__file__).resolve().parents[2]
    installed = Path(sys.prefix) / "share" / "edge-agent"
    found = next((place for place in (here, installed) if (place / "configs" / "demo.yaml").is_file()), None)
    if found is None:
        raise EdgeAgentError("configs/demo.yaml is not beside the program; install the package with its shared files")
    return found
