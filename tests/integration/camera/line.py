"""A line with a photo eye, a camera, a gate and its PLC, played in real time over Debian's mosquitto; and a model that knows its parts."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import paho.mqtt.client as mqtt
from onnx import TensorProto, helper, numpy_helper

from edge_agent.diagnose import build
from edge_agent.lifecycle.sign import keygen, sign

ROOT = Path(__file__).parents[3]
XSDD = ROOT.parent / "shared" / "data" / "xsdd" / "datas"
SIDE = 128
PASS, DIVERT = 0, 1


@dataclass(frozen=True)
class Strip:
    """The pictures of a line, and which of them are bright: those pass."""

    name: str
    pictures: np.ndarray  # uint8 [n, SIDE, SIDE]
    middle: float

    def sound(self, number: int) -> bool:
        return bool(self.pictures[number % len(self.pictures)].mean() > self.middle)


def strip() -> Strip:
    """X-SDD's pictures where they lie beside the checkout, else made-up ones; not those near the middle: JPEG moves them a little."""
    files = sorted(XSDD.glob("*/*.jpg"))
    if files:
        read = [cv2.imread(str(f), cv2.IMREAD_GRAYSCALE) for f in files[:: max(1, len(files) // 400)]]
        found, name = [p for p in read if p is not None and p.shape == (SIDE, SIDE)], "xsdd"
    else:
        rng = np.random.default_rng(0)
        found, name = [rng.normal(level, 20, (SIDE, SIDE)).clip(0, 255).astype(np.uint8) for level in rng.uniform(60, 190, 300)], "made-up"
    middle = float(np.median([p.mean() for p in found]))
    clear = [p for p in found if abs(p.mean() - middle) > 8 and p.std() > 4 and 12 < p.mean() < 243]
    sound, defect = [p for p in clear if p.mean() > middle], [p for p in clear if p.mean() < middle]
    fair = np.stack([*sound[: len(defect)], *defect[: len(sound)]])
    return Strip(name, fair[np.random.default_rng(1).permutation(len(fair))], middle)


def bundle(folder: Path, keys: Path, middle: float) -> None:
    """A signed model of pictures: dark is a defect, and the darker the surer."""
    nodes = [
        helper.make_node("Conv", ["picture", "smooth"], ["smoothed"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["smoothed", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["middle", "mean"], ["darker"]),
        helper.make_node("Sigmoid", ["darker"], ["defect"]),
        helper.make_node("Sub", ["one", "defect"], ["sound"]),
        helper.make_node("Concat", ["sound", "defect"], ["p"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.full((1, 1, 3, 3), 1 / 9, np.float32), "smooth"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array(middle, np.float32), "middle"),
        numpy_helper.from_array(np.array(1.0, np.float32), "one"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("picture", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [value("p", TensorProto.FLOAT, ["N", 2])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    file = folder.with_name("made.onnx")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(onnx.ModelProto.SerializeToString(made))
    card = {
        "format": 1,
        "name": "bright-or-dark",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": ["sound", "defect"], "normal": "sound"},
        "window": {"rows": 1},
        "roles": [{"role": "picture"}],
        "picture": {"height": SIDE, "width": SIDE},
        "graph": {"window": "picture", "outputs": {"probabilities": "p"}},
        "intended": {"use": "tests", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0"},
    }
    golden = {"picture": np.stack([np.full((1, SIDE, SIDE), level, np.float32) for level in (20, 120, 220)])}
    build.write(folder, card=card, model=file, fp32=None, golden_inputs=golden)
    private, _, _ = keygen(keys, "test")
    sign(folder, private)


@dataclass
class Bus:
    """Debian's mosquitto."""

    folder: Path
    port: int
    broker: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Bus:
        self.folder.mkdir(parents=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(f"user root\nallow_anonymous true\nset_tcp_nodelay true\nlistener {self.port} 127.0.0.1\n")
        with (self.folder / "log").open("wb") as log:
            self.broker = subprocess.Popen([shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", config], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return self
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.broker is not None:
            self.broker.kill()
            self.broker.wait(10)


@dataclass
class Plc:
    """The photo eye's side and the gate's: publishes parts, takes verdicts, answers each, and diverts what it heard nothing of in time."""

    bus: Bus
    deadline_s: float
    triggered: dict[int, float] = field(default_factory=dict)  # part -> monotonic time of its trigger
    verdicts: list[tuple[int, int, float]] = field(default_factory=list)  # part, code, monotonic time
    client: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> Plc:
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="plc")
        self.client.on_message = self._taken
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", self.bus.port)
        self.client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.loop_start()
        self.client.subscribe("line/gate/verdict", 1)
        assert ready.wait(10)
        self.run(True)
        return self

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def run(self, running: bool) -> None:
        self.client.publish("line/running", "true" if running else "false", qos=1, retain=False)

    def trigger(self, part: int) -> None:
        with self.lock:
            self.triggered.setdefault(part, time.monotonic())
        self.client.publish("line/part", json.dumps({"part": part, "t": time.time_ns()}), qos=1)

    def _taken(self, client: Any, _: Any, message: Any) -> None:
        now, said = time.monotonic(), json.loads(message.payload)
        with self.lock:
            self.verdicts.append((said["part"], said["verdict"], now))
        client.publish("line/gate/taken", json.dumps({"part": said["part"]}), qos=1)

    def delays(self) -> dict[int, float]:
        """Trigger to gate, in ms, of each part that had a verdict."""
        with self.lock:
            return {part: (at - self.triggered[part]) * 1000 for part, _, at in self.verdicts if part in self.triggered}

    def passed(self) -> set[int]:
        """What the machine let through: a pass, in time. The rest was diverted."""
        with self.lock:
            return {p for p, code, at in self.verdicts if code == PASS and at - self.triggered[p] <= self.deadline_s}


def paced(count: int, every_s: float) -> Iterator[int]:
    """Numbers from 1 on, each at its time, or as soon as the one before is done."""
    due = time.monotonic()
    for number in range(1, count + 1):
        due = max(due + every_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        yield number
