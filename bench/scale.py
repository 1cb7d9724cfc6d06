"""What do a thousand loops cost? 8 tags each at 1 Hz, one shared INT8 model: CPU, memory, start; and is it linear in tags?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import model
from bench.agent import HOME, Running, end, running
from bench.broker import broker
from bench.measure import short
from bench.report import Goal, Section, Table

CHANNELS, ROWS = 8, 16
_CONFIG = """
version: 1
agent: {{name: scale, owner: bench, state: {state}}}
models: {{unsigned: true}}
connectors:
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", version: "3.1.1"}}
templates:
  pump:
    params: [id]
    tags:
{tags}
    loops:
      "${{id}}":
        mode: advise
        perceive: {{tags: [{names}], every: 1 s, window: {rows}}}
        diagnose: {{model: {bundle}}}
        decide:
          policy: rules
          states:
            normal: [{{when: "score > 0.9", for: 5 s, go: alarm}}]
            alarm: [{{when: "score < 0.3 and ${{id}}_c0 > 5", for: 30 s, go: normal}}]
use:
  - template: pump
    each: {{n: {first}..{last}}}
    with: {{id: "p${{n}}"}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one size costs."""

    loops: int
    start_s: float
    core: float  # share of one core, all processes
    control: float
    rss_mb: float
    pss_mb: float
    turns: int
    expected: int
    lost: int


def config(folder: Path, *, loops: int, port: int) -> Path:
    """The YAML: one pump, written once."""
    bundle = folder / "models" / "bench"
    if not bundle.exists():
        model.write(bundle, channels=CHANNELS, rows=ROWS)
    each = '      "${{id}}_c{c}": {{from: bus, topic: "plant/${{id}}/state", decode: {{type: json, path: c{c}}}, qos: 0, max_age: 5 s}}'
    text = _CONFIG.format(
        state=folder / f"state-{loops}",
        port=port,
        tags="\n".join(each.format(c=c) for c in range(CHANNELS)),
        names=", ".join(f'"${{id}}_c{c}"' for c in range(CHANNELS)),
        rows=ROWS,
        bundle=bundle,
        first="0000",
        last=f"{loops - 1:04d}",
    )
    file = folder / f"scale-{loops}.yaml"
    file.write_text(text)
    return file


def cost(folder: Path, loops: int, *, seconds: int) -> Cost:
    """Start, fill the windows, measure."""
    with broker(folder) as port, running(config(folder, loops=loops, port=port)) as agent:
        spec = folder / "sender.json"
        spec.write_text(json.dumps({"port": port, "pumps": loops, "channels": CHANNELS, "seconds": ROWS + seconds + 8}))
        sender = subprocess.Popen([sys.executable, "-m", "bench.sender", str(spec)], cwd=HOME)
        try:
            return _measured(agent, loops, seconds)
        finally:
            end(sender)


def _measured(agent: Running, loops: int, seconds: int) -> Cost:
    from bench.measure import cpu_s

    time.sleep(ROWS + 4)
    before, control, began, turns = agent.cpu_s(), cpu_s([agent.process.pid]), time.monotonic(), _turns(agent)
    time.sleep(seconds)
    spent, own, took = agent.cpu_s() - before, cpu_s([agent.process.pid]) - control, time.monotonic() - began
    status = agent.status()
    done = sum(loop["turns"] for loop in status["loops"].values()) - turns[0]
    return Cost(
        loops=loops,
        start_s=agent.start_s,
        core=spent / took,
        control=own / took,
        rss_mb=agent.rss_mb(),
        pss_mb=agent.pss_mb(),
        turns=done,
        expected=round(loops * (time.monotonic() - turns[1])),
        lost=status["inbox"]["dropped"] + sum(loop["dropped"] for loop in status["loops"].values()),
    )


def _turns(agent: Running) -> tuple[int, float]:
    return sum(loop["turns"] for loop in agent.status()["loops"].values()), time.monotonic()


def run(folder: Path, *, quick: bool) -> Section:
    """The line over the number of loops, and the goals at its end."""
    sizes = [100, 200] if quick else [250, 500, 1000]
    found = [cost(folder, loops, seconds=5 if quick else 10) for loops in sizes]
    rows = [
        (
            str(c.loops),
            str(c.loops * CHANNELS),
            f"{c.start_s:.1f} s",
            f"{c.core:.0%} ({c.control:.0%} control)",
            f"{c.core * 1e6 / (c.loops * CHANNELS):.0f} us",
            f"{c.rss_mb:.0f} ({c.pss_mb:.0f} unshared)",
            f"{c.turns}/{c.expected}",
            str(c.lost),
        )
        for c in found
    ]
    columns = ("loops", "tags", "start", "one core", "CPU per tag value", "RSS MB", "turns done/due", "lost")
    section = Section(
        title="Scale: many loops, one shared model",
        about=f"One JSON message a second per pump with {CHANNELS} values, mosquitto, a row a second, a window of {ROWS} rows at each row, "
        "INT8 CNN in the worker, rules, keep rules, ledger. Control and worker together.",
        tables=[Table(columns=columns, rows=rows)],
    )
    last = found[-1]
    if not quick:
        section.goals = [
            Goal(target="1,000 loops x 8 tags at 1 Hz <= 60 % of one core", reached=f"{last.core:.0%}", met=last.core <= 0.6),
            Goal(target="<= 250 MB in all processes", reached=f"{last.rss_mb:.0f} MB", met=last.rss_mb <= 250),
            Goal(target="start with 1,000 loops <= 10 s", reached=f"{last.start_s:.1f} s", met=last.start_s <= 10),
            _linear(found),
        ]
    return section


def _linear(found: list[Cost]) -> Goal:
    """The largest size costs per tag what the smallest does."""
    first, last = (c.core / c.loops for c in (found[0], found[-1]))
    return Goal(
        target="CPU linear in tags",
        reached=f"per tag x{short(last / first)} from {found[0].loops} to {found[-1].loops} loops",
        met=last / first <= 1.15,
    )
