"""A small right configuration, and what becomes of it once something in it is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.config.load import Configuration, load, parse
from edge_agent.errors import ConfigError, Problem

GOOD = """\
version: 1
agent: {name: l2-ipc1, site: jinan, owner: acme}
connectors:
  plc: {type: opcua, url: "opc.tcp://10.0.0.5:4840"}
  bus: {type: mqtt, url: "mqtt://127.0.0.1:1883"}
tags:
  flow: {from: plc, node: "nsu=urn:plant;s=P1.Flow", unit: l/min, range: [0, 60], max_age: 3 s}
  running: {from: plc, node: "nsu=urn:plant;s=P1.Running"}
  vib: {from: bus, topic: plant/p1/vib, unit: m/s2, max_age: 3 s}
  speed: {from: plc, node: "nsu=urn:plant;s=P1.SpeedTrim", unit: rpm, write: true}
loops:
  p1:
    mode: advise
    tier: 1
    perceive: {tags: [flow, vib], every: 1 s, window: 60}
    diagnose: {model: some-model}
    decide:
      policy: rules
      states:
        normal: [{when: "score > 0.8", for: 5 s, go: relief}]
        relief: [{when: "score < 0.3", for: 30 s, go: normal}]
      actions: {relief: {trim: {speed: -200}}}
    execute:
      speed:
        limits: [-300, 300]
        step: 10
        rate: 50/min
        interlocks: ["running and flow > 3"]
        verify: {within: 2 s, tolerance: 1}
        response: {tag: flow, direction: down, by: 1, within: 20 s}
"""


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def right() -> Callable[[str], Configuration]:
    """Parses what must be right."""
    return lambda text: parse(text, "plant.yaml", environment={})


@pytest.fixture
def wrong() -> Callable[..., list[Problem]]:
    """The problems of the right configuration after `old` was replaced by `new` (or of a whole text)."""

    def problems(old: str, new: str | None = None) -> list[Problem]:
        assert new is None or old in GOOD, f"{old!r} does not stand in the right configuration"
        text = old if new is None else GOOD.replace(old, new, 1)
        with pytest.raises(ConfigError) as caught:
            parse(text, "plant.yaml", environment={})
        assert caught.value.exit_code == 78
        return caught.value.problems

    return problems


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Configuration]:
    """Writes a file and loads it."""

    def load_(text: str | bytes, **options: bool) -> Configuration:
        file = tmp_path / "plant.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, **options)

    return load_
