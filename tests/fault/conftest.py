"""What the fault tests share: root where something is mounted, and a table of figures at the end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.lifecycle.sign import keygen
from tests.agent.conftest import Rig
from tests.integration.conftest import NodePlant, free_port
from tests.integration.mqtt.conftest import Authority, Mosquitto

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "execute")]

from fault_figures import Figures  # noqa: E402 - found by the path above

Figure = Callable[..., None]
_FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    """Also when pytest meets this file late, in the midst of collecting a folder above."""
    if _FIGURES not in config.stash:
        file = config.getoption("--figures", default=None)
        config.stash[_FIGURES] = Figures(Path(file) if file else None)
        config.pluginmanager.register(config.stash[_FIGURES], "figures")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """`figure("process kill", kills=500, lost=0)`: what this test reached, for the table at the end and docs/promises.md. What a
    control shows is noted as "process kill, control that acks early"."""
    figures, test = request.config.stash[_FIGURES], request.node.nodeid

    def note(promise: str, **numbers: Any) -> None:
        figures.note(test, promise, numbers)

    return note


@pytest.fixture(scope="session")
def plant_pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that all node-opcua plants of a session share: making them takes seconds."""
    return tmp_path_factory.mktemp("plant-pki")


@pytest.fixture
def node_plant(tmp_path: Path, plant_pki: Path) -> Iterator[NodePlant]:
    """tests/counterparts/node_plant.js, running; its Counter counts every 50 ms."""
    (tmp_path / "plant").mkdir()
    plant = NodePlant(folder=tmp_path / "plant", pki=plant_pki, port=free_port(), settings={"step": 50})
    yield plant.start()
    plant.thaw()
    plant.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Debian's mosquitto, running."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    made = Mosquitto(folder, Authority(folder, "plant-ca"))
    made.start()
    yield made
    made.stop(kill=True)


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A small agent in this process, on the `sim` connector; its folder's path is short, because a socket's has to be."""
    folder = tmp_path_factory.mktemp("a")
    key, _, _ = keygen(folder / "keys", "tester")
    made = Rig(folder, key)
    (folder / "models").mkdir()
    made.bundle("tiny")
    return made


@pytest.fixture
def mounts() -> None:
    """Fail, and say why, where no file system can be mounted."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        pytest.fail("this test mounts small file systems (loop, FUSE): run it as root, in a virtual machine or a privileged container")
    if missing := [tool for tool in ("mkfs.ext4", "mount", "unshare", "gcc") if shutil.which(tool) is None]:
        pytest.fail(f"not installed: {', '.join(missing)}: run `make counterparts`")
