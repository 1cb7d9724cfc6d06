"""The units under a real systemd: a small Debian is booted, and what is found inside is judged here (small_system.sh)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.torture, pytest.mark.timeout(900)]

SCRIPT = Path(__file__).with_name("small_system.sh")
BACK_S = 25.0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the script saw. EDGE_AGENT_TEST_TREE names a tree that is kept from run to run."""
    if os.geteuid() != 0 or shutil.which("systemd-nspawn") is None or shutil.which("mmdebstrap") is None:
        pytest.fail("this test boots a small system: run it as root, after `make counterparts`")
    folder = tmp_path_factory.mktemp("service")
    tree = Path(os.environ.get("EDGE_AGENT_TEST_TREE", folder / "tree"))
    done = subprocess.run([SCRIPT, tree, folder / "out"], capture_output=True, text=True, check=False)
    lines = (folder / "out" / "found").read_text().splitlines() if (folder / "out" / "found").exists() else []
    seen = dict(line.split("=", 1) for line in lines)
    log = folder / "out" / "log"
    assert seen.get("end") == "yes", f"{seen}\n{done.stdout}{done.stderr}\n{log.read_text()[-3000:] if log.exists() else ''}"
    return seen


def test_it_tells_systemd_when_it_is_ready_and_serves(found: dict[str, str]) -> None:
    assert (found["notify"], found["api"], found["reload"], found["stopped"]) == ("active", "active", "active", "success")


def test_it_may_write_into_its_state_only(found: dict[str, str]) -> None:
    closed = {name: value for name, value in found.items() if name.startswith("closed/")}
    assert len(closed) == 5
    assert set(closed.values()) == {"yes"}
    assert found["state"] == "writable"
    assert found["control_outside"] == "writable", "the control: outside the unit the same place can be written"


def test_it_holds_no_power_and_its_secrets_are_credentials(found: dict[str, str]) -> None:
    assert (found["user"], found["capabilities"], found["privileges"], found["filter"]) == ("edge-agent", "0" * 16, "1", "2")
    assert (found["credential"], found["leak"], found["devices"]) == ("secret-of-the-plant", "no", "0")
    assert float(found["exposure"]) <= 1.2


def test_killed_or_frozen_it_comes_back(found: dict[str, str], figure: Callable[..., None]) -> None:
    assert float(found["killed_back_s"]) <= BACK_S
    assert float(found["frozen_back_s"]) <= BACK_S
    assert found["watchdog"] == "1"
    figure("service", exposure=found["exposure"], after_kill=f"{found['killed_back_s']} s", after_freeze=f"{found['frozen_back_s']} s")
    figure("hangs: frozen, under real systemd", back=f"{found['frozen_back_s']} s")


def test_with_a_wrong_configuration_it_is_not_started_again_and_again(found: dict[str, str]) -> None:
    assert found["wrong_configuration"] == "failed"
