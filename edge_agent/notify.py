"""How does systemd know how we are? Its notification socket; without systemd nothing happens."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """Send "READY=1", "STATUS=...", "WATCHDOG=1"; never blocks, never raises: a full socket loses the message."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message.encode(), address)
    except OSError:
        return


def watchdog_s() -> float | None:
    """How often systemd wants to hear of us at the latest; None without a watchdog."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    micros = os.environ.get("WATCHDOG_USEC", "")
    return int(micros) / 1e6 if micros.isdigit() and int(micros) else None
