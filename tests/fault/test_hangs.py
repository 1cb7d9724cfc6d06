"""Something hangs: the PLC takes the trim back within three heartbeats and the watchdog is not fed; whoever is not needed may hang."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_theatre import FED_S, Manager, Theatre, setpoint

from edge_agent import service
from edge_agent.demo.stage import Plant
from tests.agent.conftest import Rig

pytestmark = pytest.mark.timeout(300)

HEARTBEAT_S = 1.0  # configs/demo.yaml
SCAN_S = 0.5  # of the PLC, and of our looking at it
TOLD_S = 21.0  # after which a part that makes no progress is given up at the latest
HANGING = Path(__file__).with_name("hanging_agent.py")
KINDS = {
    "frozen": signal.SIGSTOP,
    "blocked event loop": signal.SIGUSR1,
    "dead-locked writer": signal.SIGUSR2,
    "stuck loop": signal.SIGRTMIN,
}
SILENT = ("frozen", "blocked event loop")  # can tell nobody
torture = [pytest.mark.torture, pytest.mark.timeout(3000)]


@pytest.fixture
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    made = Theatre(tmp_path_factory.mktemp("t"))
    yield made
    made.close()


def hang(theatre: Theatre, plant: Plant, kind: str) -> tuple[int, float]:
    """Hang an agent whose trim stands; its process, and seconds until the PLC has taken the trim back."""
    agent = theatre.agent(program=HANGING)
    theatre.bite(plant)
    os.kill(agent.pid, KINDS[kind])
    start = time.monotonic()
    theatre.until(f"the PLC to take the trim back ({kind})", lambda: setpoint(plant) == 0, 30.0, every_s=0.02)
    return agent.pid, time.monotonic() - start


@pytest.mark.parametrize("hangs", [pytest.param(48, marks=torture)])
def test_the_plc_falls_back(theatre: Theatre, figure: Callable[..., None], hangs: int) -> None:
    plant = theatre.plant()
    took: dict[str, float] = {}
    for i in range(hangs):
        kind = list(KINDS)[i % len(KINDS)]
        pid, seconds = hang(theatre, plant, kind)
        assert seconds <= 3 * HEARTBEAT_S + SCAN_S, kind
        took[kind] = max(took.get(kind, 0.0), seconds)
        os.kill(pid, signal.SIGKILL)
        theatre.stage._processes[-1][1].wait(10)
    figure("hangs: PLC falls back", hangs=hangs, **{kind: f"{s:.1f} s" for kind, s in took.items()})


@pytest.mark.anyio
async def test_who_is_stuck_is_told_of_and_not_fed_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(rig.folder / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    async with rig.running() as run, asyncio.TaskGroup() as group:
        reporting = group.create_task(service._report(run.agent, run.agent.clock))
        await run.until(lambda: len(manager.said("WATCHDOG=1")) >= 3, "fed")
        run.agent.health.expect("somebody", 0.05)
        await run.until(lambda: manager.said("WATCHDOG=trigger"), "told")
        fed = len(manager.said("WATCHDOG=1"))
        await asyncio.sleep(0.5)
        assert len(manager.said("WATCHDOG=1")) == fed
        run.agent.health.forget("somebody")
        await run.until(lambda: len(manager.said("WATCHDOG=1")) > fed, "fed again")
        reporting.cancel()


@pytest.mark.parametrize("kind", [pytest.param(k, marks=torture) for k in KINDS])
def test_the_watchdog_is_not_fed(theatre: Theatre, figure: Callable[..., None], kind: str) -> None:
    plant = theatre.plant()
    _, seconds = hang(theatre, plant, kind)
    hung = time.monotonic() - seconds
    assert seconds <= 3 * HEARTBEAT_S + SCAN_S
    assert len(theatre.manager.said("WATCHDOG=1")) >= 2, "it was fed before"
    if kind in SILENT:
        time.sleep(2 * FED_S)
        assert theatre.manager.said("WATCHDOG=1", hung) == []
        figure(f"hangs: {kind}", fallback=f"{seconds:.1f} s", fed="never again")
        return
    theatre.until("systemd to be asked for a kill", lambda: theatre.manager.said("WATCHDOG=trigger", hung), TOLD_S + 5)
    told = theatre.manager.said("WATCHDOG=trigger", hung)[0]
    assert told - hung <= TOLD_S
    time.sleep(2 * FED_S)
    assert theatre.manager.said("WATCHDOG=1", told) == []
    figure(f"hangs: {kind}", fallback=f"{seconds:.1f} s", told=f"{told - hung:.1f} s")


@pytest.mark.parametrize("times", [pytest.param(10, marks=torture)])
def test_a_frozen_worker_is_replaced(theatre: Theatre, figure: Callable[..., None], times: int) -> None:
    theatre.plant()
    agent = theatre.agent()
    worst = 0.0
    for _ in range(times):
        theatre.diagnosing()
        worker, turns = theatre.page()["worker"]["pid"], theatre.loop()["turns"]
        os.kill(worker, signal.SIGSTOP)
        theatre.until("the diagnosis to fail", lambda: theatre.loop()["diagnosis"]["status"] != "ok", 10.0, every_s=0.01)
        start = time.monotonic()
        theatre.diagnosing()
        worst = max(worst, time.monotonic() - start)
        assert theatre.page()["worker"]["pid"] != worker
        assert not Path(f"/proc/{worker}").exists()
        assert theatre.loop()["turns"] > turns
        time.sleep(0.5)
    assert worst <= 70.0  # the model stands aside for longer each time, a minute at most
    assert theatre.loop()["errors"] == 0
    assert agent.poll() is None
    figure("hangs: frozen worker", times=times, worst=f"{worst:.1f} s")


@pytest.mark.torture
def test_a_frozen_api_stops_nothing(theatre: Theatre) -> None:
    plant = theatre.plant()
    theatre.agent()
    api = theatre.stage.start_api()
    theatre.bite(plant)
    os.kill(api.pid, signal.SIGSTOP)
    before = theatre.loop()["turns"]
    time.sleep(10)
    assert theatre.loop()["turns"] >= before + 10
    assert setpoint(plant) < 0
    assert plant.order({"state": True})["lease_lost"] == 0
    os.kill(api.pid, signal.SIGCONT)
