"""Pathway: a threshold at each message; paho brings and takes the messages."""

import json
import os
import threading

import paho.mqtt.client as mqtt
import pathway as pw

PORT, NAME = int(os.environ["BENCH_PORT"]), os.environ["BENCH_NAME"]


class Schema(pw.Schema):
    v: float


class Subject(pw.io.python.ConnectorSubject):
    def run(self):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = lambda _c, _u, message: self.next(v=float(json.loads(message.payload)["v"]))
        client.on_connect = lambda c, *_: c.subscribe(f"plant/{NAME}/x", qos=0)
        client.connect("127.0.0.1", PORT)
        client.loop_start()
        threading.Event().wait()


out = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
out.connect("127.0.0.1", PORT)
out.loop_start()
state = {"high": False}


def on_change(key, row, time, is_addition):
    if is_addition and row["high"] != state["high"]:
        state["high"] = row["high"]
        out.publish(f"plant/{NAME}/set", json.dumps({"v": int(row["high"])}), qos=1)


table = pw.io.python.read(Subject(), schema=Schema, autocommit_duration_ms=1)
pw.io.subscribe(table.select(high=pw.this.v > 10), on_change)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
