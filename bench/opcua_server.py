"""A plant that talks much: an asyncua server whose nodes change at a steady pace. `python -m bench.opcua_server PORT NODES CHANGES_PER_SECOND`"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime

from asyncua import Server, ua

_STEPS = 20  # a second


async def main() -> None:
    """Serve until the process is told to end; says READY once it listens, and how many changes it made once a second."""
    port, count, rate = (int(word) for word in sys.argv[1:4])
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:bench")
    nodes = [(await server.nodes.objects.add_variable(ua.NodeId(f"v{i}", index), f"v{i}", 0.0)).nodeid for i in range(count)]
    async with server:
        print("READY", flush=True)
        made, begin, at = 0, time.monotonic(), 0
        while True:
            wanted = int((time.monotonic() - begin) * rate)
            now = datetime.now(UTC).replace(tzinfo=None)
            for _ in range(min(wanted - made, 4 * rate // _STEPS)):
                value = ua.DataValue(ua.Variant(float(made), ua.VariantType.Double), SourceTimestamp=now, ServerTimestamp=now)
                await server.iserver.aspace.write_attribute_value(nodes[at], ua.AttributeIds.Value, value)
                at = (at + 1) % count
                made += 1
            await asyncio.sleep(1 / _STEPS)


if __name__ == "__main__":
    asyncio.run(main())
