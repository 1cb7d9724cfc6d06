"""The floor: asyncua's own iterator over two connections, dropping what it reads. python -m bench.floor_opcua PORT NODES PUBLISH_MS OUT"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from asyncua import Client, ua
from asyncua.common.subscription import DataChangeEvent


async def main() -> None:
    """Count, and write the count down."""
    port, count, publish_ms, out = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    seen, fresh = [0], out.with_suffix(".new")
    out.write_text("0")  # noqa: ASYNC240
    async with Client(f"opc.tcp://127.0.0.1:{port}") as one, Client(f"opc.tcp://127.0.0.1:{port}") as two, asyncio.TaskGroup() as group:
        index = await one.get_namespace_index("urn:bench")
        for k, client in enumerate((one, two)):
            parameters = ua.CreateSubscriptionParameters(publish_ms, 1000, 100, 0, True, 0)
            subscription = await client.create_subscription(parameters, queue_maxsize=200_000)
            nodes = [client.get_node(ua.NodeId(f"v{i}", index)) for i in range(k * count // 2, (k + 1) * count // 2)]
            await subscription.subscribe_data_change(nodes, queuesize=100)
            group.create_task(_read(subscription, seen))
        print("READY", flush=True)
        while True:
            await asyncio.sleep(0.1)
            fresh.write_text(str(seen[0]))
            fresh.replace(out)


async def _read(subscription: object, seen: list[int]) -> None:
    async for event in subscription:  # type: ignore[attr-defined]
        if isinstance(event, DataChangeEvent):
            seen[0] += 1


if __name__ == "__main__":
    asyncio.run(main())
