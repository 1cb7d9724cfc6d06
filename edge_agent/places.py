"""Where does an agent keep things?"""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.config.model import Agent
from edge_agent.errors import EdgeAgentError

SOCKET = "control.sock"
_MARKS = ("manifest.json", "state.json", "card.yaml")  # of a bundle, of an installed model, of a bundle in the making


def state(agent: Agent) -> Path:
    """The agent's state folder. One that was loaded from a file knows it."""
    return Path(agent.state) if agent.state else default_state(Path(agent.name))


def default_state(file: Path) -> Path:
    """Where the agent of a configuration file keeps its things unless the file says so: what systemd gives, else the folder that
    systemd would give to edge-agent@NAME; commands find a running service by its file alone."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) if given else Path("/var/lib/edge-agent") / file.stem


def make(folder: Path) -> None:
    """Make a state folder that is not there yet. EdgeAgentError if this user may not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        said = f"{folder}: the state folder cannot be made ({e.strerror}); start as a user that may, or set agent.state"
        raise EdgeAgentError(said) from e


def socket(agent: Agent) -> Path:
    """Where the control process listens."""
    return state(agent) / SOCKET


def ledger(agent: Agent) -> Path:
    """The ledger's folder."""
    return state(agent) / "ledger"


def stop_file(agent: Agent) -> Path:
    """While this file exists nothing is written to the plant."""
    return Path(agent.stop_file) if agent.stop_file else state(agent) / "stop"


def models(config_file: Path) -> list[Path]:
    """Folders searched for a bundle, in this order: beside the configuration, EDGE_AGENT_MODELS, installed."""
    named = os.environ.get("EDGE_AGENT_MODELS")
    here = Path(__file__).resolve().parent.parent
    return [
        config_file.parent,
        config_file.parent / "models",
        *([Path(named)] if named else []),
        here / "models",
        here.parent.parent.parent.parent / "share/edge-agent/models",
        Path("/var/lib/edge-agent/models"),
    ]


def bundle(name: str, config_file: Path) -> Path | None:
    """Where a model bundle lies, or is installed: a path, or a name looked up in `models`; None if nowhere."""
    folders = [Path(name)] if Path(name).is_absolute() else [folder / name for folder in models(config_file)]
    return next((folder for folder in folders if any((folder / mark).is_file() for mark in _MARKS)), None)
