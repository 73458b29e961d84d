"""Certificates, for a listener and for endpoints: files → SSL contexts, judged before use."""

import os
import ssl
import stat
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hookpost.config import material
from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.core.settings import ClientTls, Tls

if TYPE_CHECKING:  # it is slow to load, and few listeners have a certificate
    from cryptography.x509 import Certificate

PLACE: Path = ("listen", "ingest", "tls")
_FORM = "PEM"
_FILES = ("ca", "cert", "key")
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _Mistake(ValueError):
    """What is wrong, at the key to blame."""

    def __init__(self, key: str, code: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.code = code


def check(draft: Draft) -> None:
    """Fill `draft.tls` where the listener has a certificate; every mistake is reported."""
    data = draft.part(*map(str, PLACE))
    texts = {key: material.read(draft, (*PLACE, key), _FORM) for key in data}
    if not {"cert", "key"} <= texts.keys() or None in texts.values():
        return
    places: dict[str, Any] = {key: material.place(draft, (*PLACE, key)) for key in data}
    files = {key: str(place) for key, place in places.items()}
    try:
        context = _context(files, texts)
        _warn(draft, PLACE, files, texts)
    except _Mistake as mistake:
        draft.error((*PLACE, mistake.key), mistake.code, str(mistake))
        return
    draft.tls = Tls(**places, digest=_digest(texts), context=context)


def check_endpoints(draft: Draft) -> None:
    """Fill `draft.client_tls` by the place of each `tls`; every mistake is reported."""
    for place in [
        ("endpoint_defaults",),
        *(("endpoints", name) for name in draft.names("endpoints")),
    ]:
        if isinstance(draft.part(*place).get("tls"), dict):
            _check_endpoint(draft, (*place, "tls"))


def _check_endpoint(draft: Draft, place: tuple[str, ...]) -> None:
    data = draft.part(*place)
    named = [key for key in _FILES if key in data]
    if ("cert" in data) != ("key" in data) and not _lost(draft, place):
        message = "a certificate and its key go together; give both, or neither"
        draft.error(place, "missing-key", message)
        return
    texts = {key: material.read(draft, (*place, key), _FORM) for key in named}
    if None in texts.values():
        return
    places: dict[str, Any] = {key: material.place(draft, (*place, key)) for key in named}
    files = {key: str(file) for key, file in places.items()}
    version = data.get("min_version", ClientTls().min_version)
    try:
        context = _client_context(files, texts, version)
        _warn(draft, place, files, texts)
    except _Mistake as mistake:
        draft.error((*place, mistake.key), mistake.code, str(mistake))
        return
    digest = _digest({**texts, "min_version": version})
    draft.client_tls[place] = ClientTls(
        **places, min_version=version, digest=digest, context=context
    )


def _lost(draft: Draft, place: tuple[str, ...]) -> bool:
    data = draft.part(*place)
    return any(draft.written((*place, key)) and key not in data for key in ("cert", "key"))


def _client_context(files: dict[str, str], texts: dict[str, Any], version: str) -> ssl.SSLContext:
    """Verifies name and certificate; a `ca` stands in for the system's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[version]
    context.set_alpn_protocols(["http/1.1"])
    if "cert" in files:
        _fits(files, texts)
        _load(context, files)
    if "ca" in texts:
        _certificates("ca", files, texts)
        try:
            context.load_verify_locations(cadata=texts["ca"])
        except (ssl.SSLError, ValueError):
            raise _no_certificate("ca", files) from None
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _digest(texts: dict[str, Any]) -> str:
    whole = "\0".join(f"{key}\0{text}" for key, text in sorted(texts.items()))
    return sha256(whole.encode()).hexdigest()


def _context(files: dict[str, str], texts: dict[str, Any]) -> ssl.SSLContext:
    """TLS 1.2 at least; with a `client_ca` nobody comes in without a certificate of its."""
    _fits(files, texts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    if "client_ca" in texts:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=texts["client_ca"])
        except (ssl.SSLError, ValueError):
            raise _no_certificate("client_ca", files) from None
    return context


def _load(context: ssl.SSLContext, files: dict[str, str]) -> None:
    try:  # the password: else OpenSSL would ask for one at the terminal
        context.load_cert_chain(files["cert"], files["key"], password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        message = f"{files['cert']} and its key are not taken by OpenSSL: {reason}"
        raise _Mistake("cert", "bad-certificate", message) from None


def _fits(files: dict[str, str], texts: dict[str, Any]) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    first = _certificates("cert", files, texts)[0]
    try:
        key: Any = load_pem_private_key(texts["key"].encode(), None)
    except TypeError:
        message = f"{files['key']} is encrypted, and there is nobody to ask; decrypt it"
        raise _Mistake("key", "bad-key", message) from None
    except (ValueError, UnsupportedAlgorithm):
        message = f"{files['key']} holds no private key in PEM"
        raise _Mistake("key", "bad-key", message) from None
    if key.public_key() != first.public_key():
        message = f"{files['key']} is not the key of the first certificate in {files['cert']}"
        raise _Mistake("key", "bad-key", message)


def _certificates(key: str, files: dict[str, str], texts: dict[str, Any]) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(texts[key].encode())
    except ValueError:
        raise _no_certificate(key, files) from None


def _no_certificate(key: str, files: dict[str, str]) -> _Mistake:
    return _Mistake(key, "bad-certificate", f"{files[key]} holds no certificate in PEM")


def _warn(draft: Draft, place: Path, files: dict[str, str], texts: dict[str, Any]) -> None:
    """Certificates outside their time, and a key that is no secret: the old ones go on."""
    now = datetime.fromtimestamp(draft.wall, UTC)
    for key in files.keys() - {"key"}:
        for found in _certificates(key, files, texts):
            begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
            if not begins <= now <= ends:
                when = f"ended at {ends:%FT%TZ}" if ends < now else f"begins at {begins:%FT%TZ}"
                message = f"a certificate in {files[key]} {when}; no handshake with it succeeds"
                draft.warning((*place, key), "certificate-not-valid", message)
    if "key" in files and os.stat(files["key"]).st_mode & stat.S_IROTH:
        message = f"every user of this machine may read {files['key']}; chmod 600 it"
        draft.warning((*place, "key"), "exposed-secret", message)
