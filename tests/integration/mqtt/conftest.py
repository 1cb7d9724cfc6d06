"""Debian's mosquitto with four listeners, and a sink that remembers."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from connectors.mqtt import Config, Connector, Tag
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup
from edge_agent.messages import Gap, LinkState, Sample

USER, PASSWORD = "agent", "agent-pass"
_ACL = f"""user {USER}
topic read plant/#
topic write plant/+/cmd
topic readwrite edge/#
user plc
topic readwrite #
"""


class Authority:
    """A small certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._subject, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.add_extension(_usage(ca=True), critical=True).sign(self._key, hashes.SHA256())
        self.file = self._pem(f"{name}.ca.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for localhost and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key).add_extension(names, critical=False)
        builder = builder.add_extension(purposes, critical=False).add_extension(_usage(ca=False), critical=True)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._pem(f"{name}.pem", certificate.public_bytes(pem)), self._pem(f"{name}.key", secret)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _pem(self, name: str, data: bytes) -> Path:
        file = self.folder / name
        file.write_bytes(data)
        return file


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Mosquitto:
    """One broker process; started and stopped at will, keeping its ports and its store."""

    folder: Path
    ca: Authority
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    extra: str = ""

    def start(self) -> None:
        self._configure()
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(["mosquitto", "-c", str(self.folder / "m.conf")], stdout=out, stderr=out)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports["plain"]), 0.2):
                return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(10)
            self.process = None

    def url(self, listener: str = "plain") -> str:
        scheme = "mqtts" if listener in ("tls", "mtls") else "mqtt"
        return f"{scheme}://localhost:{self.ports[listener]}"

    def publish(self, topic: str, *payloads: str | bytes, qos: int = 1, retain: bool = False, listener: str = "plain") -> None:
        """One payload a message, through mosquitto_pub, a client that nobody here wrote."""
        for payload in payloads:
            data = payload.encode() if isinstance(payload, str) else payload
            command = [*self._client("mosquitto_pub", listener), "-t", topic, "-q", str(qos), "-s"]
            subprocess.run([*command, "-r"] if retain else command, input=data, check=True, timeout=20)

    def lines(self, topic: str, lines: Sequence[str], *, qos: int = 1) -> None:
        """Many messages by one client, one a line."""
        data = "".join(f"{line}\n" for line in lines).encode()
        command = [*self._client("mosquitto_pub", "plain"), "-t", topic, "-q", str(qos), "-l"]
        subprocess.run(command, input=data, check=True, timeout=60)

    def watch(self, topic: str, seconds: int, listener: str = "plain") -> subprocess.Popen[bytes]:
        """mosquitto_sub that prints `retained topic payload` for each message."""
        command = [*self._client("mosquitto_sub", listener), "-t", topic, "-q", "1", "-W", str(seconds), "-F", "%r %t %p"]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def _client(self, program: str, listener: str) -> list[str]:
        login = ["-u", "plc", "-P", "plc-pass"] if listener == "password" else []
        return [program, "-V", "5", "-h", "127.0.0.1", "-p", str(self.ports[listener]), *login]

    def _configure(self) -> None:
        folder, certificate, key = self.folder, self.folder / "server.pem", self.folder / "server.key"
        if not self.ports:
            self.ports = {name: free_port() for name in ("plain", "password", "tls", "mtls")}
            self.ca.issue("server")
            users = folder / "passwd"
            users.touch()
            for user, password in ((USER, PASSWORD), ("plc", "plc-pass")):
                subprocess.run(["mosquitto_passwd", "-b", str(users), user, password], check=True)
            (folder / "acl").write_text(_ACL)
        tls = f"cafile {self.ca.file}\ncertfile {certificate}\nkeyfile {key}\ntls_version tlsv1.2\n"
        (folder / "m.conf").write_text(
            f"per_listener_settings true\nuser root\npersistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            f"autosave_on_changes true\nmax_queued_messages 100000\nlog_dest stderr\nlog_type all\n{self.extra}"
            f"listener {self.ports['plain']} 127.0.0.1\nallow_anonymous true\n"
            f"listener {self.ports['password']} 127.0.0.1\nallow_anonymous false\npassword_file {folder}/passwd\nacl_file {folder}/acl\n"
            f"listener {self.ports['tls']} 127.0.0.1\nallow_anonymous true\n{tls}"
            f"listener {self.ports['mtls']} 127.0.0.1\n{tls}require_certificate true\nuse_identity_as_username true\n"
        )


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder, Authority(folder, "plant-ca"))
    broker.start()
    yield broker
    broker.stop(kill=True)


@dataclass
class Heard:
    """A sink that keeps everything, and commits at once unless it is told to hold."""

    hold: bool = False
    all: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    links: list[LinkState] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        with self._changed:
            self.all += batch
            if committed and self.hold:
                self.held.append(committed)
            elif committed:
                committed()
            self._changed.notify_all()

    def gap(self, gap: Gap) -> None:
        with self._changed:
            self.gaps.append(gap)
            self._changed.notify_all()

    def link(self, state: LinkState) -> None:
        with self._changed:
            self.links.append(state)
            self._changed.notify_all()

    def alive(self, connector: str, mono_ns: int) -> None:
        pass

    def values(self, tag: str) -> list[Any]:
        return [sample.value for sample in self.all if sample.tag == tag]

    def until(self, true: Callable[[], bool], seconds: float = 15.0) -> bool:
        """Wait, in a thread, until something holds."""
        with self._changed:
            return self._changed.wait_for(true, seconds)

    @property
    def state(self) -> str:
        return self.links[-1].state if self.links else ""


@dataclass
class Running:
    """A connector that runs, and what it said."""

    connector: Connector
    heard: Heard

    async def until(self, true: Callable[[], bool], seconds: float = 15.0) -> None:
        """Fail, with what was heard, unless this becomes true."""
        came = await asyncio.to_thread(self.heard.until, true, seconds)
        assert came, f"{self.connector.status()} {self.heard.links} {self.heard.all[-5:]}"

    async def up(self) -> None:
        """Wait until every topic is granted or refused."""
        await self.until(lambda: self.heard.state == "up")
        await self.status(lambda status: all(tag["state"] not in ("asked", "not asked") for tag in status["tags"].values()))

    async def status(self, true: Callable[[Any], bool], seconds: float = 20.0) -> Any:
        """The status, once this is true of it."""
        async with asyncio.timeout(seconds):
            while not true(status := self.connector.status()):  # noqa: ASYNC110 a status is looked at, it tells nobody
                await asyncio.sleep(0.02)
        return status


@asynccontextmanager
async def running(url: str, tags: dict[str, dict[str, Any]], state: Path, hold: bool = False, **config: Any) -> AsyncIterator[Running]:
    """A connector with these tags, until the end of the block."""
    backoff = {"first": "100 ms", "longest": "500 ms"}
    made = {name: Tag.model_validate({"from": "bus", **tag}) for name, tag in tags.items()}
    setup = Setup(name="bus", clock=SystemClock(), state=state, agent="test")
    connector = Connector(Config.model_validate({"type": "mqtt", "url": url, "backoff": backoff, **config}), made, setup)
    run = Running(connector, Heard(hold=hold))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(connector.run(run.heard))
        yield run
        task.cancel()


@pytest.fixture
def run() -> Callable[..., AbstractAsyncContextManager[Running]]:
    """Start a connector: run(url, tags, state, **config)."""
    return running
