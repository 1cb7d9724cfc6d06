"""A plant on asyncua's own server, as a process: `python asyncua_plant.py PORT STEP_MS`; prints "ready", ends with its standard input.

Counter counts STEP_MS by STEP_MS, and its source time is exactly the moment that its count stands for; Trim can be written.
"""

import asyncio
import datetime
import logging
import os
import sys

from asyncua import Server, ua

EPOCH = 1_700_000_000_000  # ms: the count 0


async def main(port: int, step_ms: int) -> None:
    logging.disable(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:plant")
    counter = await server.nodes.objects.add_variable(ua.NodeId("Counter", index), "Counter", 0, ua.VariantType.Int64)
    trim = await server.nodes.objects.add_variable(ua.NodeId("P1.SpeedTrim", index), "P1.SpeedTrim", 0.0, ua.VariantType.Double)
    await trim.set_writable()
    async with server:
        print("ready", flush=True)
        now = datetime.datetime.now
        count = (int(now(datetime.UTC).timestamp() * 1000) - EPOCH) // step_ms
        while os.getppid() != 1:
            count += 1
            moment = datetime.datetime.fromtimestamp((EPOCH + count * step_ms) / 1000, datetime.UTC)
            await asyncio.sleep((moment - now(datetime.UTC)).total_seconds())
            value = ua.DataValue(ua.Variant(count, ua.VariantType.Int64), ua.StatusCode(ua.StatusCodes.Good), moment)
            await server.write_attribute_value(counter.nodeid, value)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3])))
