"""The certificate of a listener: files → an SSL context, judged before anybody connects."""

import os
import ssl
import stat
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hookpost.config import material
from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.core.settings import Tls

if TYPE_CHECKING:  # it is slow to load, and few listeners have a certificate
    from cryptography.x509 import Certificate

PLACE: Path = ("listen", "ingest", "tls")
_FORM = "PEM"


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
        _warn(draft, files, texts)
    except _Mistake as mistake:
        draft.error((*PLACE, mistake.key), mistake.code, str(mistake))
        return
    whole = "\0".join(f"{key}\0{text}" for key, text in sorted(texts.items()))
    draft.tls = Tls(**places, digest=sha256(whole.encode()).hexdigest(), context=context)


def _context(files: dict[str, str], texts: dict[str, Any]) -> ssl.SSLContext:
    """TLS 1.2 at least; with a `client_ca` nobody comes in without a certificate of its."""
    _fits(files, texts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:  # the password: else OpenSSL would ask for one at the terminal
        context.load_cert_chain(files["cert"], files["key"], password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        message = f"{files['cert']} and its key are not taken by OpenSSL: {reason}"
        raise _Mistake("cert", "bad-certificate", message) from None
    if "client_ca" in texts:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=texts["client_ca"])
        except (ssl.SSLError, ValueError):
            raise _no_certificate("client_ca", files) from None
    return context


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


def _warn(draft: Draft, files: dict[str, str], texts: dict[str, Any]) -> None:
    """Certificates outside their time, and a key that is no secret: the old ones go on."""
    now = datetime.fromtimestamp(draft.wall, UTC)
    for key in files.keys() - {"key"}:
        for found in _certificates(key, files, texts):
            begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
            if not begins <= now <= ends:
                when = f"ended at {ends:%FT%TZ}" if ends < now else f"begins at {begins:%FT%TZ}"
                message = f"a certificate in {files[key]} {when}; no handshake with it succeeds"
                draft.warning((*PLACE, key), "certificate-not-valid", message)
    if os.stat(files["key"]).st_mode & stat.S_IROTH:
        message = f"every user of this machine may read {files['key']}; chmod 600 it"
        draft.warning((*PLACE, "key"), "exposed-secret", message)
