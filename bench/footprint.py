"""How small is the agent? Memory, idle CPU, the time of `check`, from process start to the first decision, and what gets installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import model
from bench.agent import HOME, Running, running
from bench.broker import broker, opcua_server
from bench.measure import Spread, rss_mb
from bench.report import Goal, Section, Table
from bench.sender import Plant, publish

_CONFIG = """
version: 1
agent: {{name: foot, owner: bench, state: {state}}}
models: {{unsigned: true}}
connectors:
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", version: "3.1.1"}}
{plc}
tags:
  x: {{from: bus, topic: plant/x, decode: {{type: json, path: v}}, qos: 0}}
{plc_tag}
loops:
  one:
    mode: advise
    perceive: {{tags: [x], follow: x, window: 4, hop: 1}}
    diagnose: {{model: {bundle}}}
    decide:
      policy: rules
      states: {{normal: [{{when: "score > 0.9", go: alarm}}], alarm: [{{when: "score < 0.3", go: normal}}]}}
"""


def _config(folder: Path, port: int, opcua: int | None = None) -> Path:
    name = "opcua" if opcua else "mqtt"
    file = folder / f"foot-{name}.yaml"
    plc = f'  plc: {{type: opcua, url: "opc.tcp://127.0.0.1:{opcua}"}}' if opcua else ""
    tag = "  y: {from: plc, node: 'nsu=urn:bench;s=v0'}" if opcua else ""
    bundle = folder / "one"
    if not bundle.exists():
        model.write(bundle, channels=1, rows=4)
    file.write_text(_CONFIG.format(state=folder / f"state-{name}", port=port, plc=plc, plc_tag=tag, bundle=bundle))
    return file


def _first_decision_s(folder: Path, port: int) -> tuple[float, Running]:
    """From the start of the process to a decision on record, while a sensor sends ten times a second; and the agent's costs then."""
    config = _config(folder, port)
    begin = time.perf_counter()
    with running(config) as agent:
        plant = Plant(port, "foot-plant")
        while not _decided(folder / "state-mqtt" / "ledger"):
            plant.send([publish("plant/x", b'{"v": 10.0}')] * 5, per_second=50)
        return time.perf_counter() - begin, agent


def _decided(ledger: Path) -> bool:
    from edge_agent.feedback.reader import Reader

    with Reader(ledger) as reader:
        return bool(reader.newest(1, "decision"))


def _resting(config: Path, seconds: float) -> tuple[float, float, float]:
    """RSS of control and of its worker in MB, and the share of a core while nothing comes."""
    with running(config) as agent:
        time.sleep(3)
        before, began = agent.cpu_s(), time.monotonic()
        time.sleep(seconds)
        idle = (agent.cpu_s() - before) / (time.monotonic() - began)
        control, *others = agent.pids
        return rss_mb([control]), rss_mb(others), idle


def _command_s(*words: str) -> Callable[[], float]:
    """Wall time of a command."""

    def run() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "edge_agent", *words], cwd=HOME, capture_output=True, check=True)
        return time.perf_counter() - begin

    return run


def _installed() -> tuple[int, float]:
    """Distributions that the agent needs (none of its extras), and their bytes on disk in MB, bytecode not counted."""
    wanted, waiting = set[str](), ["edge-agent"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in wanted:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        wanted.add(name)
        waiting += [re.split(r"[ ;<>=!~\[(]", need)[0] for need in requires if "extra ==" not in need]
    size = sum(_size(name) for name in wanted - {"edge-agent"}) + sum(f.stat().st_size for f in (HOME / "edge_agent").rglob("*.py"))
    return len(wanted), size / 1e6


def _size(name: str) -> int:
    files = importlib.metadata.files(name) or []
    paths = (Path(str(file.locate())) for file in files if not str(file).endswith(".pyc"))
    return sum(path.stat().st_size for path in paths if path.exists())


def run(folder: Path, *, quick: bool) -> Section:
    """Everything compiled before it is measured."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "edge_agent", "connectors"], cwd=HOME, check=False)
    rounds = 3 if quick else 5
    with broker(folder) as port:
        first = Spread.of(_first_decision_s(folder, port)[0] for _ in range(rounds))
        control, worker, idle = _resting(_config(folder, port), 5 if quick else 20)
        with opcua_server(nodes=10, rate=0) as plc:
            with_opcua, its_worker, _ = _resting(_config(folder, port, opcua=plc), 3)
        check = Spread.of(_command_s("check", str(_config(folder, port)))() for _ in range(rounds + 2))
        python = Spread.of(_bare_python_s() for _ in range(rounds + 2))
    wheels, size = _installed()
    both, both_opcua = control + worker, with_opcua + its_worker
    return Section(
        title="Footprint",
        about="One loop, one tag, one INT8 model; bytecode compiled. RSS is the sum over control and worker: what they share counts twice.",
        goals=[
            Goal(
                target="MQTT only: control + worker <= 110 MB RSS", reached=f"{both:.0f} MB ({control:.0f} + {worker:.0f})", met=both <= 110
            ),
            Goal(
                target="with OPC UA <= 170 MB", reached=f"{both_opcua:.0f} MB ({with_opcua:.0f} + {its_worker:.0f})", met=both_opcua <= 170
            ),
            Goal(target="idle CPU <= 1 % of a core", reached=f"{idle:.1%}", met=idle <= 0.01),
            Goal(target="`edge-agent check` <= 0.4 s", reached=f"{check.text('s')}", met=check.middle <= 0.4),
            Goal(target="process start to first decision <= 2.5 s", reached=f"{first.text('s')}", met=first.middle <= 2.5),
        ],
        tables=[
            Table(
                columns=("what", "value"),
                rows=[
                    ("distributions installed, itself included", str(wheels)),
                    ("their size without bytecode", f"{size:.0f} MB"),
                    ("`python -c pass` on this box, for comparison with `check`", python.text("s")),
                ],
            )
        ],
    )


def _bare_python_s() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, env={**os.environ})
    return time.perf_counter() - begin


if __name__ == "__main__":
    print(json.dumps(_installed()))
