"""Which peers are measured, from which packages, and how are they told to do the same? Each in an environment of its own.

The peers get the easier task: a threshold at each message, no model, no window. `python -m bench.peers` installs them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.agent import HOME
from bench.broker import free_port
from bench.contenders import Contender, started
from bench.sender import Plant, publish

PLACE = HOME / ".venv" / "peers"
FLOWS = Path(__file__).parent / "peer_flows"
_PYPI = {
    "bytewax": ["bytewax==0.21.1", "paho-mqtt>=2"],
    "pathway": ["pathway", "paho-mqtt>=2"],
    "thingsboard-gateway": ["thingsboard-gateway"],
}
_INSTALL_S = 180.0


def install() -> dict[str, str]:
    """Get what is not there yet; why a peer cannot be had."""
    failed = {}
    for name in ("node-red", *_PYPI):
        mark = PLACE / name / "installed"
        if mark.exists():
            continue
        shutil.rmtree(PLACE / name, ignore_errors=True)
        (PLACE / name).mkdir(parents=True)
        try:
            for command in _commands(name):
                subprocess.run(command, cwd=PLACE / name, check=True, capture_output=True, timeout=_INSTALL_S)
            mark.touch()
        except (OSError, subprocess.SubprocessError) as e:
            failed[name] = f"cannot be installed here: {type(e).__name__}"
    return failed


def _commands(name: str) -> list[list[str]]:
    if name == "node-red":
        return [["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "node-red@4"]]
    return [[sys.executable, "-m", "venv", "."], ["bin/pip", "install", "--quiet", "--disable-pip-version-check", *_PYPI[name]]]


def makers(folder: Path, port: int, *, cores: set[int] | None = None) -> dict[str, Callable[[], Any]]:
    """How each is started; those that are not installed fail when asked."""
    return {
        "node-red": partial(_node_red, folder, port, cores),
        "bytewax": partial(_python, "bytewax", "Bytewax, threshold only", port, cores),
        "pathway": partial(_python, "pathway", "Pathway, threshold only", port, cores),
        "thingsboard-gateway": partial(_thingsboard, folder, port, cores),
    }


@contextlib.contextmanager
def _node_red(folder: Path, port: int, cores: set[int] | None) -> Iterator[Contender]:
    home = folder / "node-red"
    home.mkdir()
    flow = (FLOWS / "node_red.json").read_text().replace('"PORT"', json.dumps(str(port)))
    (home / "flows.json").write_text(flow)
    settings = f'module.exports = {{flowFile: "flows.json", uiPort: {free_port()}, uiHost: "127.0.0.1", httpAdminRoot: false, '
    settings += 'telemetry: {enabled: false}, logging: {console: {level: "warn"}}};\n'
    (home / "settings.js").write_text(settings)
    red = _there("node-red") / "node_modules" / "node-red" / "red.js"
    with started(["node", str(red), "--userDir", str(home), "--settings", str(home / "settings.js")], cores=cores) as process:
        yield _answering(Contender("node-red", "Node-RED, threshold only", process.pid), port)


@contextlib.contextmanager
def _python(name: str, what: str, port: int, cores: set[int] | None) -> Iterator[Contender]:
    environment = {"BENCH_PORT": str(port), "BENCH_NAME": name, "PATHWAY_MONITORING_SERVER": "", "DO_NOT_TRACK": "1"}
    flow, python = FLOWS / f"{name}_flow.py", str(_there(name) / "bin" / "python")
    command = [python, "-m", "bytewax.run", f"{flow}:flow"] if name == "bytewax" else [python, str(flow)]
    with started(command, cores=cores, environment=environment) as process:
        yield _answering(Contender(name, what, process.pid), port)


@contextlib.contextmanager
def _thingsboard(folder: Path, port: int, cores: set[int] | None) -> Iterator[Contender]:
    """It cannot decide: it forwards each value to its platform, whose place the same broker takes. Its telemetry counts as the answer."""
    _there("thingsboard-gateway")
    raise RuntimeError("it only forwards to its platform and has no rule or command of its own to compare")
    yield


def _there(name: str) -> Path:
    if not (PLACE / name / "installed").exists():
        raise RuntimeError("is not installed")
    return PLACE / name


def _answering(who: Contender, port: int, within_s: float = 25.0) -> Contender:
    """Wait until it answers a change of the level, and leave it low."""
    plant = Plant(port, f"probe-{who.name}")
    plant.subscribe(f"plant/{who.name}/set")
    deadline, begin, high = time.monotonic() + within_s, time.monotonic(), False
    while time.monotonic() < deadline:
        high = not high or bool(plant.answers)
        plant.sock.sendall(publish(f"plant/{who.name}/x", json.dumps({"v": 11.0 if high else 9.0}).encode()))
        plant.hear(0.1)
        if plant.answers:
            plant.sock.sendall(publish(f"plant/{who.name}/x", b'{"v": 9.0}'))
            plant.hear(0.5)
            plant.sock.close()
            who.start_s = time.monotonic() - begin
            return who
    raise RuntimeError(f"did not answer within {within_s:g} s")


if __name__ == "__main__":
    print("\n".join(f"{name}: {why}" for name, why in install().items()) or "all peers are there")
