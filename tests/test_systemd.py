"""The units as systemd itself sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

UNITS = Path(__file__).parents[1] / "systemd"


def test_systemd_finds_nothing_to_say_and_the_exposure_is_low() -> None:
    done = subprocess.run([UNITS / "verify.sh", "1.2"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("exposure") == 2


def test_the_check_itself_can_fail() -> None:
    done = subprocess.run([UNITS / "verify.sh", "0.1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0


def test_the_agent_is_restarted_but_not_for_a_wrong_configuration_and_never_killed_before_it_could_shed() -> None:
    unit = (UNITS / "edge-agent@.service").read_text()
    for line in ("Type=notify", "Restart=always", "RestartPreventExitStatus=78"):
        assert line in unit
    assert "\nExecStartPre=" not in unit  # its exit code would not keep systemd from trying again: tests/fault/test_service.py
    assert "WatchdogSec=" in unit
