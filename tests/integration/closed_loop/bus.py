"""Debian's mosquitto as a process, and the sensors that publish through it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .pump_run import RATE, Table

OVER_MQTT = {"Accelerometer1RMS": "plant/p1/vibration1", "Accelerometer2RMS": "plant/p1/vibration2"}
PASSWORD = "bus-secret"


@dataclass
class Bus:
    """Debian's mosquitto with two users, and mosquitto_pub processes that publish the vibration."""

    folder: Path
    port: int
    _broker: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Bus:
        self.folder.mkdir()
        users, config = self.folder / "users", self.folder / "mosquitto.conf"
        users.touch(mode=0o600)
        for user in ("agent", "sensor"):
            subprocess.run(["mosquitto_passwd", "-b", users, user, PASSWORD], check=True, capture_output=True)
        config.write_text(f"user root\nallow_anonymous false\npassword_file {users}\nlistener {self.port} 127.0.0.1\n")
        with (self.folder / "log").open("wb") as log:
            self._broker = subprocess.Popen(["mosquitto", "-c", config], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return self
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait(10)

    def sensor(self, topic: str) -> subprocess.Popen[str]:
        """A client that publishes each line it is given."""
        login = ["-u", "sensor", "-P", PASSWORD]
        command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(self.port), *login, "-t", topic, "-q", "1", "-l"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1)


class Feed:
    """Publishes the MQTT columns of a table at their time, from a thread."""

    def __init__(self, bus: Bus, table: Table, start_ms: int) -> None:
        self._end = threading.Event()
        self._sensors = {column: bus.sensor(topic) for column, topic in OVER_MQTT.items()}
        self._thread = threading.Thread(target=self._run, args=(table, start_ms), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)
        for sensor in self._sensors.values():
            with suppress(OSError):
                assert sensor.stdin
                sensor.stdin.close()
            sensor.wait(10)

    def _run(self, table: Table, start_ms: int) -> None:
        values = {column: table.column(column) for column in self._sensors}
        for i, second in enumerate(table.seconds()):
            due_ms = start_ms + second * 1000 / RATE
            if self._end.wait(max(0.0, due_ms / 1000 - time.time())):
                return
            for column, sensor in self._sensors.items():
                assert sensor.stdin
                sensor.stdin.write(json.dumps({"t": round(due_ms), "v": float(values[column][i]), "q": "good"}) + "\n")
