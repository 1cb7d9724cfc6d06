"""Where does a long recording come from? Made as the live agent writes it: 8 tags at 1 Hz, and the ticks that cut something."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from bench import model
from edge_agent import recording
from edge_agent.messages import Sample
from edge_agent.recording import Frame

CHANNELS, ROWS = 8, 16
WALL_NS, MONO_NS = 1_750_000_000_000_000_000, 1_000_000_000
_CONFIG = """
version: 1
agent: {{name: again, owner: bench, state: {state}}}
models: {{unsigned: true}}
connectors:
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:1"}}
tags:
{tags}
loops:
{loops}
"""
_LOOP = """
  p{i}:
    mode: observe
    perceive: {{tags: [{names}], every: 1 s, window: {rows}}}
    diagnose: {{model: {bundle}}}
    decide:
      policy: rules
      states:
        normal: [{{when: "score > {threshold}", for: 5 s, go: alarm}}]
        alarm: [{{when: "score < 0.3 and p{i}_c0 > 5", for: 30 s, go: normal}}]
"""


def names(loop: int) -> list[str]:
    """Its tags."""
    return [f"p{loop}_c{c}" for c in range(CHANNELS)]


def config(folder: Path, loops: int, *, threshold: float = 0.9) -> Path:
    """A configuration of as many loops that share a model."""
    bundle = folder / "again"
    if not bundle.exists():
        model.write(bundle, channels=CHANNELS, rows=ROWS)
    tags = "\n".join(
        f"  {t}: {{from: bus, topic: plant/p{i}, decode: {{type: json, path: {t[-2:]}}}}}" for i in range(loops) for t in names(i)
    )
    text = "".join(_LOOP.format(i=i, names=", ".join(names(i)), rows=ROWS, bundle=bundle, threshold=threshold) for i in range(loops))
    file = folder / f"again-{loops}-{threshold}.yaml"
    file.write_text(_CONFIG.format(state=folder / "state", tags=tags, loops=text))
    return file


def frames(loops: int, seconds: int) -> Iterator[Frame]:
    """What the agent would have recorded: each second one batch of each pump."""
    draw = random.Random(5)
    level = [[10 + draw.gauss(0, 1) for _ in range(CHANNELS)] for _ in range(loops)]
    tags = [names(i) for i in range(loops)]
    yield ["link", "bus", "up", MONO_NS]
    for s in range(seconds):
        for i in range(loops):
            mono = MONO_NS + s * 1_000_000_000 + i * 1_000_000
            wall = WALL_NS - MONO_NS + mono
            batch = [Sample(tag, level[i][c] + draw.random(), 0, wall, wall, mono) for c, tag in enumerate(tags[i])]
            yield recording.samples_frame(batch)
        yield ["tick", MONO_NS + s * 1_000_000_000 + 550_000_000]


def write(file: Path, loops: int, seconds: int, config_hash: str = "") -> Path:
    """A recording of them."""
    head = {"agent": "again", "config_hash": config_hash, "wall_ns": WALL_NS, "mono_ns": MONO_NS, "loops": [f"p{i}" for i in range(loops)]}
    recorder = recording.begin(file, head)
    for i in range(loops):
        _put(recorder, ["start", f"p{i}"])
    for frame in frames(loops, seconds):
        _put(recorder, frame)
    recorder.close()
    return file


def _put(recorder: recording.Recorder, frame: Frame) -> None:
    recorder._queue.put(frame)  # waits for room, where a live agent would rather lose its recording
