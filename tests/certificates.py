"""Certificates of the tests' own authority, in files as a configuration names them."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from hookpost.config import load
from hookpost.core.settings import Tls

HOST = "gateway.example"
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)


def write(folder: Path, authority: trustme.CA, **validity: datetime) -> trustme.LeafCert:
    """Write cert.pem, key.pem and ca.pem, each in one instant: somebody may read at any time."""
    leaf = authority.issue_cert(HOST, **validity)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    put(folder / "cert.pem", chain)
    put(folder / "key.pem", leaf.private_key_pem.bytes())
    put(folder / "ca.pem", authority.cert_pem.bytes())
    return leaf


def put(file: Path, content: bytes) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.chmod(0o600)
    fresh.replace(file)


def settings(folder: Path, *, client_ca: bool = False) -> Tls:
    """What a configuration comes to that names the files in `folder`."""
    named = "cert: cert.pem, key: key.pem" + (", client_ca: ca.pem" if client_ca else "")
    file = folder / "gateway.yaml"
    file.write_text(f"version: 1\nlisten: {{ingest: {{tls: {{{named}}}}}}}\n")
    tls = load(file).sound().listen.ingest.tls
    assert tls is not None
    return tls


def trusting(authority: trustme.CA, identity: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context; `identity` is the certificate that it shows."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if identity is not None:
        identity.configure_cert(context)
    return context


def serial(link: Any) -> str:
    """Which certificate the other side of a connection has shown."""
    shown: dict[str, str] = link.get_extra_info("peercert")
    return shown["serialNumber"]
