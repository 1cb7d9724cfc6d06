"""A PLC that talks much, and one that answers: asyncua's server, its notifications made without its address space, which is slow.

python -m bench.talker PORT NODES     on stdin: `talk PUBLISH_MS RATE SECONDS` or `events COUNT EVERY_S`; each is answered by a line of JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from asyncua import Server, ua
from asyncua.common.callback import CallbackType

_STEPS = 20  # a second


class Talker:
    """The server."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.server = Server()
        self.written: list[tuple[int, Any]] = []  # when (ns), value

    async def open(self, port: int) -> None:
        server = self.server
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace("urn:bench")
        for i in range(self.count):
            await server.nodes.objects.add_variable(ua.NodeId(f"v{i}", index), f"v{i}", 0.0)
        self.event = await server.nodes.objects.add_variable(ua.NodeId("event", index), "event", 0.0)
        order = await server.nodes.objects.add_variable(ua.NodeId("order", index), "order", 0.0)
        await order.set_writable()
        server.subscribe_server_callback(CallbackType.PostWrite, self._noted)
        await server.start()

    def _noted(self, event: Any, _: Any = None) -> None:
        for item in event.request_params.NodesToWrite:
            if item.NodeId.Identifier == "order":
                self.written.append((time.monotonic_ns(), item.Value.Value.Value))

    async def talk(self, publish_ms: float, rate: int, seconds: float) -> dict[str, Any]:
        """As many changes a second in all, spread over the subscriptions with this interval; how many were made."""
        subs = [s for s in self._subscriptions() if abs(s.data.RevisedPublishingInterval - publish_ms) < 0.5]
        lines = [[(m.monitored_item_id, m.client_handle) for m in s.monitored_item_srv._monitored_items.values()] for s in subs]
        # an agent also watches the server's clock: that item stays as it is
        lines = [line[-self.count // len(subs) :] for line in lines]
        made, begin, now_s = [0] * len(subs), time.monotonic(), 0.0
        while now_s < seconds:
            await asyncio.sleep(1 / _STEPS)
            now_s = min(time.monotonic() - begin, seconds)
            wanted, stamp = int(rate * now_s) // len(subs), datetime.now(UTC).replace(tzinfo=None)
            for i, (sub, items) in enumerate(zip(subs, lines, strict=True)):
                self._push(sub, items, made[i], wanted - made[i], stamp)
                made[i] = wanted
        return {"made": sum(made), "seconds": time.monotonic() - begin, "subscriptions": len(subs)}

    def _push(self, sub: Any, items: list[Any], at: int, count: int, stamp: datetime) -> None:
        queue = sub._triggered_datachanges
        for k in range(at, at + count):
            mid, handle = items[k % len(items)]
            value = ua.DataValue(ua.Variant(float(k), ua.VariantType.Double), SourceTimestamp=stamp, ServerTimestamp=stamp)
            queue.setdefault(mid, []).append(ua.MonitoredItemNotification(ClientHandle=handle, Value=value))

    def _subscriptions(self) -> list[Any]:
        return list(self.server.iserver.subscription_service.subscriptions.values())

    async def events(self, count: int, every_s: float) -> dict[str, Any]:
        """Change `event` again and again; from each change to the write that answers it, in ms."""
        found, level = [], 0.0
        for _ in range(count):
            self.written.clear()
            level = 1.0 - level
            at = time.monotonic_ns()
            await self.event.write_value(
                ua.DataValue(ua.Variant(level, ua.VariantType.Double), SourceTimestamp=datetime.now(UTC).replace(tzinfo=None))
            )
            await asyncio.sleep(every_s)
            found += [(when - at) / 1e6 for when, value in self.written if value == level][:1]
        return {"ms": found}


async def main() -> None:
    """Serve until the input ends."""
    port, count = (int(word) for word in sys.argv[1:3])
    talker = Talker(count)
    await talker.open(port)
    print("READY", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what, *rest = line.split()
        numbers = [float(word) for word in rest]
        reply = await (
            talker.talk(numbers[0], int(numbers[1]), numbers[2]) if what == "talk" else talker.events(int(numbers[0]), numbers[1])
        )
        print(json.dumps(reply), flush=True)
    await talker.server.stop()


if __name__ == "__main__":
    asyncio.run(main())
