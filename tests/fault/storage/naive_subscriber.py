"""How MQTT messages are usually kept: paho acknowledges, a queue waits, a thread writes. The control of test_mqtt_inbound.py: it loses.

python naive_subscriber.py PORT FILE        stores each payload of the topic `count` as a line; a persistent session, QoS 1
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt


def keep(file: Path, waiting: queue.Queue[bytes]) -> None:
    """Group commit, twice a second."""
    with file.open("ab", buffering=0) as out:
        while True:
            time.sleep(0.5)
            lines = [waiting.get() for _ in range(waiting.qsize())]
            out.write(b"".join(line + b"\n" for line in lines))
            os.fsync(out.fileno())


def main(port: int, file: Path) -> None:
    waiting: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=keep, args=(file, waiting), daemon=True).start()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="naive", clean_session=False)
    client.on_connect = lambda *_: client.subscribe("count", qos=1)
    client.on_subscribe = lambda *_: print("up", flush=True)
    client.on_message = lambda _client, _data, message: waiting.put(message.payload)
    client.connect("127.0.0.1", port)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
