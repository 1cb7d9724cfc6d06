"""How do log lines look? On a terminal for people, otherwise for journald: priority prefix and key=value."""

from __future__ import annotations

import logging
import sys

_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
# They write a traceback a second while a device is away; our connectors say the same once.
_LOUD = ("asyncua", "paho", "uvicorn.access", "amqtt", "transitions")


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " | ")
        return f"<{_PRIORITY.get(record.levelname, 6)}>{text}"


def setup(verbose: bool = False) -> None:
    """Send our log to stderr. INFO is a change of state, WARNING unexpected but nothing lost, ERROR somebody must act."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(_Journal("logger=%(name)s msg=%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.CRITICAL)
