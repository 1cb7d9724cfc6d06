"""Our own certificate, and the pinned one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.clock import SystemClock
from edge_agent.errors import PlantError
from edge_agent.opcua import security
from edge_agent.opcua.options import Login, Options, Security


def options(state: Path, trust: Path | None) -> Options:
    return Options(
        connector="plc",
        agent="l2-ipc1",
        url="opc.tcp://127.0.0.1:4840",
        state=state,
        security=Security(policy="Basic256Sha256", mode="SignAndEncrypt", trust=trust),
        login=Login(),
        outage_s=60,
        publish_s=0.2,
        keep_alive_s=3,
        session_s=60,
        request_s=4,
        max_backoff_s=30,
        audit_s=60,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a certificate was made; it serves as the server's, too."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.raises(PlantError):
        security.load(options(folder, folder / "missing.der"), SystemClock())
    return folder


def test_a_key_is_made_on_first_use_and_kept_to_ourselves(own: Path) -> None:
    key, certificate = own / "opcua-own-key.pem", own / "opcua-own.der"
    assert key.stat().st_mode & 0o777 == 0o600
    before = (key.read_bytes(), certificate.read_bytes())
    identity = security.load(options(own, certificate), SystemClock())
    assert (key.read_bytes(), certificate.read_bytes()) == before
    assert identity.application_uri == "urn:edge-agent:l2-ipc1"
    assert identity.key.key_size == 2048
    assert list(own.glob("*.new")) == []


def test_the_pin_is_compared_byte_by_byte_also_at_the_head_of_a_chain(own: Path) -> None:
    der = (own / "opcua-own.der").read_bytes()
    trusted = (x509.load_der_x509_certificate(der),)
    assert security.pinned(der, trusted) is trusted[0]
    assert security.pinned(der + b"chain", trusted) is trusted[0]
    assert security.pinned(der[:-1] + b"x", trusted) is None
    assert security.pinned(None, trusted) is None
    assert security.pinned(b"", trusted) is None


def test_pem_and_folders_are_taken_and_other_files_there_are_left_alone(own: Path, tmp_path: Path) -> None:
    certificate = x509.load_der_x509_certificate((own / "opcua-own.der").read_bytes())
    (tmp_path / "a.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "readme.txt").write_text("x")
    assert security.load(options(own, tmp_path), SystemClock()).trusted == (certificate,)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"])
def test_a_pin_that_is_no_certificate_is_named(own: Path, tmp_path: Path, content: bytes | None) -> None:
    pin = tmp_path / "plc.der"
    if content is not None:
        pin.write_bytes(content)
    with pytest.raises(PlantError, match=r"plc\.der"):
        security.load(options(own, pin), SystemClock())


def test_an_empty_folder_of_pins_trusts_nobody(own: Path, tmp_path: Path) -> None:
    with pytest.raises(PlantError, match="no certificate in this folder"):
        security.load(options(own, tmp_path), SystemClock())


def test_a_policy_without_a_pin_is_refused_even_if_the_configuration_let_it_through(own: Path) -> None:
    with pytest.raises(PlantError, match="without a trusted"):
        security.load(options(own, None), SystemClock())


def test_without_a_policy_nothing_is_read_or_made(tmp_path: Path) -> None:
    plain = replace(options(tmp_path / "state", None), security=Security())
    assert security.load(plain, SystemClock()) == security.Identity()
    assert not (tmp_path / "state").exists()
