"""What does an OPC UA change cost, is none lost, and how long is it from an event on the PLC to a verified write?"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import contenders
from bench.agent import HOME, Running, end, running
from bench.broker import free_port
from bench.contenders import arm, started
from bench.measure import Spread, cpu_s, family, percentile, ratio
from bench.report import Goal, Section, Table
from edge_agent.feedback.reader import Reader

NODES, RATE = 1000, 20_000
_OURS_MS, _FLOOR_MS = 100, 110  # publishing intervals: they tell the server who is who
_CONFIG = """
version: 1
agent: {{name: opc, owner: bench, state: {state}}}
connectors:
  a: {{type: opcua, url: "opc.tcp://127.0.0.1:{port}", publish: 100 ms}}
  b: {{type: opcua, url: "opc.tcp://127.0.0.1:{port}", publish: 100 ms}}
tags:
{tags}
"""
_ANSWER = """
version: 1
agent: {{name: answer, owner: bench, state: {state}}}
models: {{trust: {keys}}}
connectors:
  plc: {{type: opcua, url: "opc.tcp://127.0.0.1:{port}", publish: 5 ms, sampling: 0 s}}
tags:
  event: {{from: plc, node: "nsu=urn:bench;s=event"}}
  order: {{from: plc, node: "nsu=urn:bench;s=order", write: true}}
loops:
  p1:
    mode: armed
    tier: 1
    perceive: {{tags: [event], follow: event, window: 4}}
    diagnose: {{model: {bundle}}}
    decide:
      policy: rules
      states: {{low: [{{when: "event > 0.5", go: high}}], high: [{{when: "event < 0.5", go: low}}]}}
      actions: {{low: {{set: {{order: 0}}}}, high: {{set: {{order: 1}}}}}}
    execute:
      order: {{limits: [0, 1], step: 1, max_step: 1, min_interval: 0 s, per_hour: 100000, reversals_per_hour: 100000, verify: {{within: 2 s}}}}
"""


class Server:
    """The PLC, in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process, self.port = process, port

    def ask(self, *words: object) -> dict[str, Any]:
        """One line to it, one line back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the OPC UA server has ended")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    port = free_port()
    command = ["taskset", "-c", "1", sys.executable, "-m", "bench.talker", str(port), str(NODES)]
    process = subprocess.Popen(command, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if process.stdout is None or b"READY" not in process.stdout.readline():
            raise RuntimeError("the OPC UA server did not start")
        yield Server(process, port)
    finally:
        end(process)


def _changes(agent: Running) -> int:
    return sum(int(c.get("counts", c).get("samples", 0)) for c in agent.status()["connectors"].values())


def _linked(agent: Running) -> None:
    for _ in range(100):
        if all(c.get("link") == "up" for c in agent.status()["connectors"].values()):
            return
        time.sleep(0.2)
    raise RuntimeError(f"no link: {agent.status()['connectors']}")


def _flow(folder: Path, server: Server, rounds: int, seconds: float) -> dict[str, list[float]]:
    config = folder / "opc.yaml"
    tags = "\n".join(f'  v{i}: {{from: {"ab"[i >= NODES // 2]}, node: "nsu=urn:bench;s=v{i}"}}' for i in range(NODES))
    config.write_text(_CONFIG.format(state=folder / "opc", port=server.port, tags=tags))
    out = folder / "floor.count"
    found: dict[str, list[float]] = {key: [] for key in ("ours", "floor", "lost ours", "lost floor", "rate")}
    floor_command = [sys.executable, "-m", "bench.floor_opcua", str(server.port), str(NODES), str(_FLOOR_MS), str(out)]
    with running(config, cores={0}) as agent, started(floor_command, cores={0}, says=b"READY") as floor:
        _linked(agent)
        time.sleep(2)
        for _ in range(rounds):
            before, cpu = _changes(agent), agent.cpu_s()
            said = server.ask("talk", _OURS_MS, RATE, seconds)
            time.sleep(1)
            found["ours"].append(1e6 * (agent.cpu_s() - cpu) / said["made"])
            found["lost ours"].append(said["made"] - (_changes(agent) - before))
            found["rate"].append(said["made"] / said["seconds"])
            began, cpu = int(out.read_text()), cpu_s(family(floor.pid))
            said = server.ask("talk", _FLOOR_MS, RATE, seconds)
            time.sleep(1)
            found["floor"].append(1e6 * (cpu_s(family(floor.pid)) - cpu) / said["made"])
            found["lost floor"].append(said["made"] - (int(out.read_text()) - began))
    return found


def _answers(folder: Path, server: Server, count: int) -> dict[str, list[float]]:
    made = contenders.bundle(folder, rows=4)
    config = folder / "answer.yaml"
    config.write_text(_ANSWER.format(state=folder / "answer", port=server.port, keys=made.keys, bundle=made.bundle))
    with running(config) as agent:
        _linked(agent)
        server.ask("events", 8, 0.1)
        arm(agent)
        event_ms = server.ask("events", count, 0.25)["ms"]
        time.sleep(0.5)
        with Reader(folder / "answer" / "ledger") as reader:
            outcomes = [r.payload for r in reader.newest(count, "outcome")]
    confirmed = [o for o in outcomes if o["status"] == "confirmed"]
    verify = [float(o["verify_ms"]) for o in confirmed if o.get("verify_ms") is not None]
    return {"event": event_ms, "verify": verify, "confirmed": [float(len(confirmed))]}


def run(folder: Path, *, quick: bool) -> Section:
    """The flow, then the answers."""
    with _server() as server:
        flow = _flow(folder, server, 2 if quick else 5, 2 if quick else 4)
        count = 10 if quick else 40
        answers = _answers(folder, server, count)
    cost = ratio(flow["ours"], flow["floor"])
    lost = sum(flow["lost ours"])
    event, verify = percentile(answers["event"], 0.5), percentile(answers["verify"], 0.5)
    return Section(
        title="OPC UA",
        about=f"{NODES} nodes over two connections, asyncua's server on core 1; ours checks, counts and keeps the quality of every change, the floor is "
        "asyncua's iterator that drops what it reads, both on core 0.",
        goals=[
            Goal(
                target=f"{RATE:,} value changes/s over two connections without loss",
                reached=f"{Spread.of(flow['rate']).text('/s')} made, {lost:.0f} missing",
                met=lost == 0 and min(flow["rate"]) >= 0.95 * RATE,
            ),
            Goal(target="CPU per change <= 1.3 of an asyncua iterator", reached=cost.text(), met=cost.middle <= 1.3),
            Goal(
                target="event to verified write p50 <= one PLC scan + 5 ms",
                reached=f"{event + verify:.0f} ms beside a PLC that applies at once ({event:.1f} ms to the write, {verify:.0f} ms to verify)",
                met=event + verify <= 5,
            ),
        ],
        tables=[
            Table(
                columns=("who", "CPU us a change", "changes lost"),
                rows=[
                    ("edge-agent", Spread.of(flow["ours"]).text(), f"{lost:.0f}"),
                    ("asyncua iterator", Spread.of(flow["floor"]).text(), f"{sum(flow['lost floor']):.0f}"),
                ],
            )
        ],
        notes=[
            f"From the change of a node to the write at the server: p50 {event:.1f}, p99 {percentile(answers['event'], 0.99):.1f} ms ({len(answers['event'])} of "
            f"{count} events answered); publishing interval 5 ms, intent on disk in between.",
            "A write counts as verified when two reads 50 ms apart show it: a PLC may take a value and throw it back in its next scan. That pause is the "
            "time to verify, and it is meant.",
        ],
    )
