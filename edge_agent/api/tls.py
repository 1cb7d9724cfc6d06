"""How is the API's wire protected? TLS 1.2 or later, client certificates where a signer is named, and new files without a restart."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge_agent.config.model import Tls
from edge_agent.errors import EdgeAgentError


class Wire:
    """The TLS context of the listening socket. `renew` loads the files again: connections made from then on use them."""

    def __init__(self, tls: Tls, home: Path) -> None:
        self._home = home
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.renew(tls)

    def renew(self, tls: Tls) -> None:
        """EdgeAgentError if a file is missing or wrong; then the old ones stay in use."""
        certificate, key = self._home / tls.certificate, self._home / tls.key
        _try(certificate, "api.tls.certificate", key)  # in a context of its own first: a half-loaded pair would end all answers
        self.context.load_cert_chain(certificate, key)
        if tls.clients is not None:
            self._believe(self._home / tls.clients)

    def _believe(self, signers: Path) -> None:
        try:
            self.context.load_verify_locations(signers)
        except (OSError, ssl.SSLError) as e:
            raise EdgeAgentError(f"api.tls.clients {signers}: no certificates can be read ({e}); give a PEM file") from e
        self.context.verify_mode = ssl.CERT_REQUIRED


def _try(certificate: Path, where: str, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as e:
        said = f"{where} {certificate}, api.tls.key {key}: cannot be used ({e}); both are PEM files, and belong together"
        raise EdgeAgentError(said) from e


def common_name(peer: object) -> str:
    """Whose certificate the other side showed, from ssl's getpeercert(); empty if none."""
    subject = peer.get("subject", ()) if isinstance(peer, dict) else ()
    return next((str(value) for part in subject for name, value in part if name == "commonName"), "")
