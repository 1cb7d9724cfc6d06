"""The floor: the shortest script that does it by hand. paho, json, numpy, onnxruntime; no quality, no gate, no ledger, no worker.

python -m bench.floor_mqtt SPEC.json    port, name, model, rows, hop, intents (a file: put each command on disk before it leaves)
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import paho.mqtt.client as mqtt

_THRESHOLD = 10.0


def main() -> None:
    """Hear, keep a window, run the model at each hop, say so when the level has changed."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    rows, hop = spec["rows"], spec["hop"]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(spec["model"], options, providers=["CPUExecutionProvider"])
    intents = _intents(spec["intents"]) if spec.get("intents") else None
    window = np.zeros((1, 1, rows), np.float32)
    kept = [0.0] * rows
    seen, high = 0, False

    def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        nonlocal seen, high
        value = json.loads(message.payload)["v"]
        kept.append(value)
        del kept[0]
        seen += 1
        if seen % hop or seen < rows:
            return
        window[0, 0] = kept
        score = float(session.run(["score"], {"window": window})[0][0])
        now = value > _THRESHOLD and score < 2
        if now != high:
            high = now
            if intents is not None:
                intents.execute("INSERT INTO intent(value) VALUES (?)", (int(now),))  # its own transaction, flushed
            client.publish(f"plant/{spec['name']}/set", json.dumps({"v": int(now)}), qos=1)

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(f"plant/{spec['name']}/x", qos=0)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=spec["name"])
    client.on_message, client.on_connect = on_message, on_connect
    client.on_subscribe = lambda *_: print("READY", flush=True)
    client.connect("127.0.0.1", spec["port"])
    client.loop_forever()


def _intents(file: str) -> sqlite3.Connection:
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE intent(id INTEGER PRIMARY KEY, value)")
    return db


if __name__ == "__main__":
    main()
