"""The API on real sockets: TLS, client certificates, keys that change without a pause, callers that take too much."""

from __future__ import annotations

import datetime
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_agent.api import protocol

pytestmark = pytest.mark.timeout(90)

CONFIG = """\
version: 1
agent: {{name: a1, owner: acme, state: {folder}/state}}
connectors: {{}}
tags: {{}}
api:
  names: [ipc1.plant.example]
  tls: {{certificate: server.pem, key: server.key{clients}}}
  tokens: {tokens}
"""
TOKENS = "[{name: pool, token: !secret pool, may: [read, label]}]"


class Signer:
    """A certificate authority that lives for one test."""

    def __init__(self, folder: Path, name: str = "plant-ca") -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certify(self._name, self._key, ca=True).public_bytes(serialization.Encoding.PEM))

    def issue(self, file: str, name: str) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._certify(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, ca=False)
        certificate, secret = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        secret.write_bytes(key.private_bytes(*form))
        return str(certificate), str(secret)

    def _certify(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(x509.BasicConstraints(ca, None), True)
        return builder.add_extension(alternative, False).sign(self._key, hashes.SHA256())


@dataclass
class Served:
    """`edge-agent serve` as a process."""

    folder: Path
    signer: Signer = field(init=False)
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.signer = Signer(self.folder)
        self.signer.issue("server", "ipc1")
        (self.folder / "secrets").mkdir()
        self.secret("first")

    def secret(self, text: str, name: str = "pool") -> None:
        file = self.folder / "secrets" / name
        file.touch(mode=0o600)
        file.write_text(text)

    def configure(self, tokens: str = TOKENS, clients: str = "") -> None:
        (self.folder / "a1.yaml").write_text(CONFIG.format(folder=self.folder, tokens=tokens, clients=clients))

    def start(self) -> None:
        command = [sys.executable, "-m", "edge_agent", "serve", str(self.folder / "a1.yaml"), "--port", "0"]
        environment = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr
        said = self.process.stderr.readline()
        assert "listening on https://" in said, said + self.process.stderr.read()
        self.port = int(said.rpartition(":")[2])
        with socket.create_connection(("localhost", self.port)) as sock:  # in clear: it hangs up, and so has begun to answer
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            sock.settimeout(20)
            with suppress(ConnectionError):
                sock.recv(1)

    def reload(self) -> None:
        assert self.process
        assert self.process.stderr
        self.process.send_signal(signal.SIGHUP)
        while "read again" not in (line := self.process.stderr.readline()):
            assert line, "it ended"

    def client(self, token: str = "", pair: tuple[str, str] | None = None, ca: Path | None = None) -> httpx.Client:
        context = ssl.create_default_context(cafile=ca or self.signer.file)
        if pair:
            context.load_cert_chain(*pair)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"https://localhost:{self.port}", verify=context, headers=headers, timeout=10)

    def status(self, token: str = "", pair: tuple[str, str] | None = None) -> int:
        with self.client(token, pair) as client:
            return client.get("/openapi.json").status_code


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    made.configure()
    yield made
    if made.process:
        made.process.kill()
        made.process.communicate()


def test_over_tls_the_token_opens_and_nothing_is_said_in_clear(served: Served) -> None:
    served.start()
    assert (served.status("first"), served.status("wrong")) == (200, 401)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://localhost:{served.port}/", timeout=5)
    old = ssl.create_default_context(cafile=served.signer.file)
    with warnings.catch_warnings(action="ignore"):  # that this is old is the point
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"https://localhost:{served.port}/", verify=old, timeout=5)


def test_with_client_certificates_nobody_else_gets_in(served: Served) -> None:
    served.configure(
        "[{name: pool, certificate: pool-1}, {name: page, token: !secret pool, certificate: page-1}]", ", clients: plant-ca.pem"
    )
    served.start()
    pool, page, other = (served.signer.issue(name, name) for name in ("pool-1", "page-1", "other"))
    foreign = Signer(served.folder, "foreign-ca").issue("impostor", "pool-1")
    assert served.status(pair=pool) == 200
    assert (served.status("first", page), served.status("", page), served.status("first", other)) == (200, 401, 401)
    for pair in (None, foreign):
        with pytest.raises(httpx.HTTPError):
            served.status("first", pair)


def test_keys_change_without_a_pause(served: Served) -> None:
    served.start()
    served.secret("second")
    served.secret("first", "old")
    served.configure("[{name: pool, token: !secret pool, previous: !secret old}]")
    served.reload()
    assert (served.status("first"), served.status("second")) == (200, 200)
    served.configure()
    served.signer.issue("server", "ipc1-renewed")
    served.reload()
    assert (served.status("first"), served.status("second")) == (401, 200)
    context = ssl.create_default_context(cafile=served.signer.file)
    plain = socket.create_connection(("localhost", served.port))
    with context.wrap_socket(plain, server_hostname="localhost") as tls:
        peer = tls.getpeercert()
    assert peer
    assert peer["subject"] == ((("commonName", "ipc1-renewed"),),)


def test_wrong_new_keys_leave_the_old_ones(served: Served) -> None:
    served.start()
    (served.folder / "server.key").write_text("torn")
    served.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    while "stay" not in served.process.stderr.readline():  # type: ignore[union-attr]
        pass
    assert served.status("first") == 200


def test_the_pool_pulls_with_a_certificate(served: Served) -> None:
    served.configure("[{name: pool, certificate: pool-1, may: [read]}]", ", clients: plant-ca.pem")
    served.start()
    certificate, key = served.signer.issue("pool-1", "pool-1")
    command = [
        sys.executable,
        "-m",
        "edge_agent",
        "pool",
        "pull",
        f"https://localhost:{served.port}",
        "--into",
        str(served.folder / "pool"),
    ]
    command += ["--ca", str(served.signer.file), "--certificate", certificate, "--key", key]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "there is no ledger yet" in said.stderr + said.stdout  # it was let in; there was no agent
    refused = subprocess.run(command[:-4], capture_output=True, text=True, timeout=60, env=os.environ | {"EDGE_AGENT_TOKEN": "x"})
    assert refused.returncode
    assert "there is no ledger yet" not in refused.stderr + refused.stdout


def test_who_says_nothing_is_hung_up_on_and_others_are_answered_meanwhile(served: Served) -> None:
    served.start()
    context = ssl.create_default_context(cafile=served.signer.file)
    slow = [context.wrap_socket(socket.create_connection(("localhost", served.port)), server_hostname="localhost") for _ in range(20)]
    start = time.monotonic()
    with ExitStack() as stack:
        for sock in slow:
            stack.enter_context(sock)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert served.status("first") == 200
        _until_hung_up(slow)
    assert protocol.SAY_S - 1 < time.monotonic() - start < protocol.SAY_S + 5


def _until_hung_up(slow: list[ssl.SSLSocket]) -> None:
    for sock in slow:
        sock.settimeout(30)
        with suppress(ConnectionError, ssl.SSLError):
            while sock.recv(1000):
                pass


def test_one_address_cannot_hold_every_connection(served: Served) -> None:
    served.start()
    context = ssl.create_default_context(cafile=served.signer.file)
    held: list[ssl.SSLSocket] = []
    dropped = 0
    for _ in range(protocol.FROM_ONE + 6):
        plain = socket.create_connection(("localhost", served.port))
        try:
            sock = context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            dropped += 1
            continue
        held.append(sock)
        sock.settimeout(0.3)
        try:
            ended = sock.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            ended = True
        if ended:
            held.pop().close()
            dropped += 1
    assert (len(held), dropped) == (protocol.FROM_ONE, 6)
    for sock in held:
        sock.close()
    time.sleep(0.2)
    assert served.status("first") == 200


def test_a_head_without_end_is_cut_off(served: Served) -> None:
    served.start()
    context = ssl.create_default_context(cafile=served.signer.file)
    with context.wrap_socket(socket.create_connection(("localhost", served.port)), server_hostname="localhost") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        with suppress(OSError):  # it may hang up while we still send
            for _ in range(100):
                sock.sendall(b"x" * 1000)
            assert b"400" in sock.recv(1000)
    assert served.status("first") == 200
