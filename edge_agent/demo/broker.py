"""How does the plant's vibration box speak MQTT? An embedded 3.1.1 broker on the loopback that publishes by itself.

Why amqtt: docs/decisions/0005-demo-broker.md.
"""

from __future__ import annotations

import json
import logging

import numpy as np
from amqtt.broker import Broker
from numpy.typing import NDArray

VIBRATION = "plant/p1/vibration"
STATE = "plant/p1/state"


class PlantBroker:
    """The broker of one plant: start, publish, stop."""

    def __init__(self, *, port: int) -> None:
        self._port = port
        self._broker: Broker | None = None
        self.url = f"mqtt://127.0.0.1:{port}"

    async def start(self) -> None:
        """Listen on the loopback; anybody there may connect."""
        for noisy in ("amqtt", "transitions"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        self._broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self._port}", "max_connections": 20}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await self._broker.start()

    async def stop(self) -> None:
        """Close every session and stop listening."""
        if self._broker:
            await self._broker.shutdown()

    async def vibration(self, block: NDArray[np.float32]) -> None:
        """One block of the waveform, little-endian float32."""
        await self._publish(VIBRATION, block.astype("<f4").tobytes())

    async def state(self, *, wall_ns: int, level_m: float, quality: str) -> None:
        """The tank's level with its own time (ms) and quality."""
        level = round(level_m, 4) if np.isfinite(level_m) else None
        await self._publish(STATE, json.dumps({"t": wall_ns // 1_000_000, "tank_level": level, "q": quality}).encode())

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._broker:
            await self._broker.internal_message_broadcast(topic, payload)
