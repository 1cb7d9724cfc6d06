"""Commands and services look for an agent's things in the same place."""

from pathlib import Path

import pytest

from edge_agent import places
from edge_agent.config.load import agent, load
from edge_agent.errors import EdgeAgentError

FILE = "version: 1\nagent: {{name: hall3-pump1, owner: acme{more}}}\nconnectors: {{}}\ntags: {{}}\n"


def test_the_state_folder_is_named_after_the_file_as_systemd_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(FILE.format(more=""))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert places.state(agent(file)) == places.state(load(file).file.agent) == Path("/var/lib/edge-agent/line")
    monkeypatch.setenv("STATE_DIRECTORY", "/srv/line")
    assert places.stop_file(load(file).file.agent) == Path("/srv/line/stop")


def test_what_the_file_says_counts_before_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(FILE.format(more=", state: /data/agent"))
    monkeypatch.setenv("STATE_DIRECTORY", "/srv/line")
    assert places.socket(agent(file)) == Path("/data/agent/control.sock")


def test_who_starts_the_agent_does_not_change_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(FILE.format(more=""))
    before = load(file).hash
    monkeypatch.setenv("STATE_DIRECTORY", "/srv/line")
    assert load(file).hash == before


def test_a_state_folder_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeAgentError, match=r"file/state: the state folder cannot be made \(Not a directory\); start as a user"):
        places.make(tmp_path / "file" / "state")
