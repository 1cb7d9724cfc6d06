"""Whom do we believe, and who are we? Certificates and the protection of the channel."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.clock import Clock
from edge_agent.errors import PlantError
from edge_agent.opcua.options import Login, Options, Security

_SUFFIXES = (".der", ".crt", ".cer", ".pem")
_KEY_BITS = {"Aes256Sha256RsaPss": 3072}  # the others: 2048, which every server takes (OPC 10000-7 allows 2048 to 4096)
_VALID = timedelta(days=20 * 365)  # nobody renews certificates on a machine in a cabinet


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything a channel needs to prove who is who. The policy None needs nothing."""

    certificate: x509.Certificate | None = None
    key: Any = None
    certificate_path: Path | None = None
    trusted: tuple[x509.Certificate, ...] = ()
    user_certificate: x509.Certificate | None = None
    user_key: Any = None

    @property
    def application_uri(self) -> str | None:
        """The URI in our own certificate: the server compares it with the one that the session names."""
        if self.certificate is None:
            return None
        try:
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None
        return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), None)


def load(options: Options, clock: Clock) -> Identity:
    """Read (and on first use make) certificates and keys. Blocking: RSA takes its time. PlantError says which file."""
    security, login = options.security, options.login
    if security.policy == "None":
        return Identity()
    certificate_path, key_path = _own(options, clock)
    user_certificate, user_key = _user(login)
    return Identity(
        certificate=_certificate(certificate_path),
        key=_key(key_path),
        certificate_path=certificate_path,
        trusted=_trusted(security),
        user_certificate=user_certificate,
        user_key=user_key,
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """First 16 hex digits of the SHA-256 over the DER, for people to compare."""
    return hashlib.sha256(_der(certificate)).hexdigest()[:16]


def protect(client: Any, security: Security, identity: Identity, server: x509.Certificate) -> None:
    """Bind an asyncua Client to the policy and to this one server certificate, before it connects."""
    from asyncua import ua
    from asyncua.crypto import security_policies

    policy = getattr(security_policies, f"SecurityPolicy{security.policy}")
    mode = getattr(ua.MessageSecurityMode, str(security.mode))
    client.security_policy = policy(server, identity.certificate, identity.key, mode)
    client.uaclient.set_security(client.security_policy)


def pinned(presented: bytes | None, trusted: tuple[x509.Certificate, ...]) -> x509.Certificate | None:
    """Which of the trusted certificates the server presents (its chain, DER); None if it presents a stranger's."""
    return next((c for c in trusted if presented and presented.startswith(_der(c))), None)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _trusted(security: Security) -> tuple[x509.Certificate, ...]:
    trust = security.trust
    if trust is None:
        raise PlantError(f"policy {security.policy} without a trusted server certificate")
    files = sorted(f for f in trust.iterdir() if f.suffix.lower() in _SUFFIXES) if trust.is_dir() else [trust]
    if not files:
        raise PlantError(f"{trust}: no certificate in this folder; put the server's certificate (DER or PEM) there")
    return tuple(_certificate(f) for f in files)


def _certificate(path: Path) -> x509.Certificate:
    data = _read(path)
    try:
        return x509.load_pem_x509_certificate(data) if data.startswith(b"-----") else x509.load_der_x509_certificate(data)
    except ValueError as e:
        raise PlantError(f"{path}: not a certificate in DER or PEM form ({e})") from e


def _key(path: Path) -> Any:
    data = _read(path)
    try:
        if data.startswith(b"-----"):
            return serialization.load_pem_private_key(data, None)
        return serialization.load_der_private_key(data, None)
    except (ValueError, TypeError) as e:
        raise PlantError(f"{path}: not an unencrypted private key in PEM or DER form ({e})") from e


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise PlantError(f"{path}: cannot be read ({e.strerror})") from e


def _user(login: Login) -> tuple[x509.Certificate | None, Any]:
    if login.certificate is None or login.key is None:
        return None, None
    return _certificate(login.certificate), _key(login.key)


def _own(options: Options, clock: Clock) -> tuple[Path, Path]:
    security = options.security
    if security.certificate is not None and security.key is not None:
        return security.certificate, security.key
    certificate, key = options.state / "opcua-own.der", options.state / "opcua-own-key.pem"
    if not (certificate.exists() and key.exists()):
        _make(certificate, key, options, clock)
    return certificate, key


def _make(certificate_path: Path, key_path: Path, options: Options, clock: Clock) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS.get(options.security.policy, 2048))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate_path.parent.mkdir(parents=True, exist_ok=True)
    _write(key_path, pem, 0o600)
    _write(certificate_path, _der(_self_signed(key, options, clock)), 0o644)


def _self_signed(key: rsa.RSAPrivateKey, options: Options, clock: Clock) -> x509.Certificate:
    """An application instance certificate as OPC 10000-6, 6.2.2 wants it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edge-agent {options.agent}"[:64])])
    start = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC) - timedelta(days=1)  # our clock may run ahead of the server's
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    names = [x509.UniformResourceIdentifier(options.application_uri), x509.DNSName(socket.gethostname())]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, even if the power fails."""
    draft = path.with_suffix(path.suffix + ".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
