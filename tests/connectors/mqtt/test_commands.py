import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import ManualClock
from edge_agent.errors import PlantError
from edge_agent.mqtt.address import Publish
from edge_agent.mqtt.commands import Numbers, payload
from edge_agent.mqtt.envelope import verify


def made(value: Any, tmp_path: Path, **keys: Any) -> bytes:
    clock = ManualClock()
    publish = Publish.model_validate({"topic": "a", **keys})
    return payload(value, publish, seq=Numbers(tmp_path / "sequence", clock), clock=clock, by="ipc1")


@pytest.mark.parametrize(("value", "data"), [(1.5, b"1.5"), (3, b"3"), (True, b"true"), ("run", b"run")])
def test_without_a_form_the_value_itself_is_sent(value: Any, data: bytes, tmp_path: Path) -> None:
    assert made(value, tmp_path) == data


def test_under_a_key(tmp_path: Path) -> None:
    assert made('a"b', tmp_path, key="sp") == b'{"sp":"a\\"b"}'


def test_in_a_template(tmp_path: Path) -> None:
    got = json.loads(made("$id", tmp_path, template='{"sp": $value, "n": $id, "at": $issued_ms, "until": $expires_ms}'))
    assert got["sp"] == "$id"
    assert (got["until"] - got["at"], len(got["n"])) == (5000, 16)


def test_in_an_envelope(tmp_path: Path) -> None:
    data = made(2.0, tmp_path, envelope={"sign": "0123456789abcdef"})
    now_ms = ManualClock().wall_ns() // 1_000_000
    assert verify(data, "a", b"0123456789abcdef", now_ms=now_ms, last_seq=-1, retained=False).accepted


def test_a_value_that_is_not_finite_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no value to send"):
        made(float("inf"), tmp_path)


def test_numbers_grow_across_restarts_and_clock_steps(tmp_path: Path) -> None:
    clock = ManualClock()
    numbers = []
    for _ in range(3):
        sequence = Numbers(tmp_path / "state" / "sequence", clock)
        numbers += [sequence.take() for _ in range(1500)]
        clock.step_wall(-86400)
    assert numbers == sorted(set(numbers))


def test_a_lost_file_is_replaced_by_the_clock(tmp_path: Path) -> None:
    clock = ManualClock()
    last = Numbers(tmp_path / "sequence", clock).take()
    (tmp_path / "sequence").write_text("garbage")
    clock.advance(1)
    assert Numbers(tmp_path / "sequence", clock).take() > last


def test_no_number_no_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlantError, match="no command can be numbered"):
        Numbers(tmp_path / "file" / "sequence", ManualClock()).take()
