"""The make-believe plant as a process of its own: `python -m edge_agent.demo.plant --state DIR`.

Prints one JSON line when it listens, then answers orders (see orders.py) from standard input, one JSON line each. Stops in
order on SIGTERM or SIGINT, and with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import datetime
import json
import os
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.demo import certificate
from edge_agent.demo.orders import obey
from edge_agent.demo.plc import SCAN_S
from edge_agent.demo.simulation import Simulation

if TYPE_CHECKING:
    from edge_agent.demo.broker import PlantBroker
    from edge_agent.demo.server import PlantServer

USER = "agent"
_PUBLISH_EVERY = 2  # scans between two updates of the OPC UA nodes: 5 Hz
_BLOCK_EVERY = 5  # scans between two blocks of vibration: 2 Hz
_LAG_S = 1.0  # further behind than this, the plant lets time slip
_STOP_S = 10.0
_LINE = 1 << 16


class Pace:
    """Drives the simulation by the clock and publishes what it says."""

    def __init__(self, simulation: Simulation, server: PlantServer, broker: PlantBroker, clock: Clock) -> None:
        self._simulation, self._server, self._broker, self._clock = simulation, server, broker, clock
        self._scans = 0
        self.slipped_s = 0.0

    async def run(self, speed: float) -> None:
        """Scan `speed` times as fast as real time, until cancelled."""
        period_ns = int(SCAN_S / speed * 1e9)
        due = self._clock.mono_ns()
        while True:
            due += period_ns
            late_ns = self._clock.mono_ns() - due
            if late_ns > _LAG_S * 1e9:
                due, self.slipped_s = due + late_ns, self.slipped_s + late_ns / 1e9
            if late_ns < 0:
                await self._clock.sleep(-late_ns / 1e9)
            await self.turn()

    async def turn(self) -> None:
        """One scan, and whatever is due to be published after it."""
        self._simulation.scan()
        self._scans += 1
        wall_ns = self._clock.wall_ns()
        if self._scans % _PUBLISH_EVERY == 0:
            await self._server.publish(wall_ns)
        if self._scans % _BLOCK_EVERY == 0:
            await self._tell(wall_ns)

    async def _tell(self, wall_ns: int) -> None:
        block = self._simulation.block()
        if block is not None:
            await self._broker.vibration(block)
        level = self._simulation.readings["tank_level"]
        await self._broker.state(wall_ns=wall_ns - int(level.age_s * 1e9), level_m=level.value, quality=level.status)


async def serve(options: argparse.Namespace, *, clock: Clock, say: Callable[[dict[str, Any]], None]) -> None:
    """Run the plant until it is told to stop."""
    from edge_agent.demo.broker import PlantBroker
    from edge_agent.demo.server import APPLICATION, PlantServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    now = datetime.datetime.fromtimestamp(clock.wall_ns() / 1e9, datetime.UTC)
    shown, key = certificate.ensure(options.state, name="plant", uri=APPLICATION, now=now)
    secret = _password(options.state / "secrets" / "demo_plant_password")
    simulation = Simulation(options.seed)
    server = PlantServer(
        simulation, port=options.opcua or _free_port(), user=USER, password=secret.read_text().strip(), certificate=shown, key=key
    )
    broker = PlantBroker(port=options.mqtt or _free_port())
    await server.start()
    await broker.start()
    pace = Pace(simulation, server, broker, clock)
    for _ in range(_PUBLISH_EVERY):  # whoever connects first finds values, not zeros
        await pace.turn()
    say({"ready": True, "opcua": server.url, "mqtt": broker.url, "certificate": str(shown), "user": USER, "password_file": str(secret)})
    try:
        await _until(stop, pace.run(options.speed), _listen(simulation, say))
    finally:
        async with asyncio.timeout(_STOP_S):
            await broker.stop()
            await server.stop()


async def _until(stop: asyncio.Event, *work: Any) -> None:
    """Do the work until the event is set."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _listen(simulation: Simulation, say: Callable[[dict[str, Any]], None]) -> None:
    """Orders from standard input, while it is a pipe, a socket or a terminal."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        return
    reader = asyncio.StreamReader(limit=_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        try:
            line = await reader.readline()
            if not line:
                return
            reply = obey(simulation, json.loads(line))
        except ValueError as e:  # not JSON, or a line without end
            reply = {"ok": False, "error": f"not JSON: {e}"}
        say(reply)


def _password(file: Path) -> Path:
    """A password of this plant's own, made at the first start."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(18) + "\n")
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent goes (PR_SET_PDEATHSIG, prctl(2)); elsewhere a plant may outlive it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(
        prog="edge_agent.demo.plant", description="A make-believe pump loop with an OPC UA server and an MQTT broker."
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for the certificate, its key and the password")
    parser.add_argument("--opcua", type=int, default=0, metavar="PORT", help="0: any free port")
    parser.add_argument("--mqtt", type=int, default=0, metavar="PORT", help="0: any free port")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds in one real second")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.speed <= 20.0:
        parser.error(f"--speed {options.speed} is not between 0.1 and 20")
    _die_with_parent()
    asyncio.run(serve(options, clock=SystemClock(), say=_say))


if __name__ == "__main__":
    main()
