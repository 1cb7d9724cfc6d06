"""Bytewax: a threshold at each message. It has no MQTT of its own, so paho brings and takes the messages."""

import json
import os
import queue
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import paho.mqtt.client as mqtt
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

PORT, NAME = int(os.environ["BENCH_PORT"]), os.environ["BENCH_NAME"]


def client(on_message=None):
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    if on_message:
        made.on_message = on_message
        made.on_connect = lambda c, *_: c.subscribe(f"plant/{NAME}/x", qos=0)
    made.connect("127.0.0.1", PORT)
    made.loop_start()
    return made


class Part(StatelessSourcePartition):
    def __init__(self):
        self.waiting = queue.SimpleQueue()
        self.client = client(lambda _c, _u, message: self.waiting.put(message.payload))

    def next_batch(self):
        found = []
        try:
            while len(found) < 1000:
                found.append(self.waiting.get_nowait())
        except queue.Empty:
            pass
        return found

    def next_awake(self):
        return None if not self.waiting.empty() else datetime.now(UTC) + timedelta(milliseconds=1)


class Source(DynamicSource):
    def build(self, step_id, worker_index, worker_count):
        return Part()


class Out(StatelessSinkPartition):
    def __init__(self):
        self.client = client()

    def write_batch(self, items):
        for _, level in items:
            self.client.publish(f"plant/{NAME}/set", json.dumps({"v": int(level)}), qos=1)


class Sink(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Out()


def changed(before, value):
    high = value > 10
    return high, (high if high != bool(before) else None)


flow = Dataflow("bench")
stream = op.input("in", flow, Source())
keyed = op.map("read", stream, lambda raw: ("x", json.loads(raw)["v"]))
said = op.stateful_map("rule", keyed, changed)
op.output("out", op.filter("changes", said, lambda pair: pair[1] is not None), Sink())
