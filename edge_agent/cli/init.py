"""edge-agent init: a first configuration to fill in."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import click

_HEAD = """\
# yaml-language-server: $schema={schema}
# A first configuration: it looks, and writes nothing. `edge-agent check {file}` says whether it is right.
version: 1

agent:
  name: {name}            # one name for each agent
  site: ""
  owner: me               # whose data this is

connectors:
"""

_OPCUA = """\
  plc:
    type: opcua
    url: {url}
    # The default is no protection, which is right for a first look only. To log in and to write:
    # security: {{policy: Basic256Sha256, mode: SignAndEncrypt, trust: plc.der}}   # the server's certificate, beside this file
    # user: agent
    # password: !secret plc_password     # the file secrets/plc_password beside this one; chmod 600
"""

_MQTT = """\
  bus:
    type: mqtt
    url: {url}
    # user: agent
    # password: !secret bus_password     # the file secrets/bus_password beside this one; chmod 600
"""

_OPCUA_TAGS = """\
  # a PLC sends what has changed, so no `max_age` here: a value is fresh as long as the connection lives
  flow: {{from: plc, node: "nsu=urn:plant;s=P1.Flow", unit: l/min, range: [0, 60]}}
"""

_MQTT_TAGS = """\
  pressure: {{from: bus, topic: plant/p1/pressure, unit: bar, range: [0, 10], max_age: 10 s}}
"""

_LOOP = """\

# One loop for each machine, once there is a model for it (`edge-agent models list`). Until then the agent runs and shows the
# values in `edge-agent status --tags`. A loop observes until `mode`, `tier` and `execute` say more, and a person arms it.
#
# loops:
#   p1:
#     perceive: {{tags: [{tags}], every: 1 s, window: 60}}     # the model's inputs, in the order of its card
#     diagnose: {{model: NAME}}
#     decide:
#       policy: rules
#       states:
#         normal: [{{when: "score > 0.8", for: 5 s, go: alarm}}]
#         alarm: [{{when: "score < 0.3", for: 30 s, go: normal}}]
#     feedback: {{keep: {{random: 1%}}}}
"""


@click.command("init", short_help="Write a first configuration")
@click.argument("file", type=click.Path(path_type=Path), default=Path("edge-agent.yaml"))
@click.option("--opcua", metavar="URL", help="An OPC UA server, like opc.tcp://10.0.0.5:4840.")
@click.option("--mqtt", metavar="URL", help="An MQTT broker, like mqtt://10.0.0.6:1883.")
def command(file: Path, opcua: str | None, mqtt: str | None) -> None:
    """Write a first commented configuration to FILE (edge-agent.yaml); never overwrites."""
    from edge_agent.config.load import parse

    text = first(file, opcua=opcua, mqtt=mqtt)
    parse(text, str(file), environment={})  # an address that `check` would refuse is refused here
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} exists already; nothing was changed. Give another name, or move it away") from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
    schema = file.parent / "edge-agent.schema.json"
    if not schema.exists():
        from edge_agent.config.schema import text as schema_text

        schema.write_text(schema_text(), encoding="utf-8")
    click.echo(f"wrote {file} (and {schema.name}, from which an editor completes it); next: edge-agent check {file}")


def first(file: Path, *, opcua: str | None, mqtt: str | None) -> str:
    """The text of a first configuration; with neither address it is for an MQTT broker on this machine."""
    if opcua is None and mqtt is None:
        mqtt = "mqtt://127.0.0.1:1883"
    name = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in socket.gethostname().split(".")[0])
    parts = [_HEAD.format(schema="./edge-agent.schema.json", file=file.name, name=name if name[:1].isalpha() else f"agent-{name}")]
    parts += [_OPCUA.format(url=json.dumps(opcua))] if opcua else []
    parts += [_MQTT.format(url=json.dumps(mqtt))] if mqtt else []
    parts += ["\ntags:\n"]
    parts += [_OPCUA_TAGS.format(url=opcua)] if opcua else []
    parts += [_MQTT_TAGS.format()] if mqtt else []
    tags = [name for name, given in (("flow", opcua), ("pressure", mqtt)) if given]
    return "".join([*parts, _LOOP.format(tags=", ".join(tags))])
