"""One POST to the ingest listener of a configuration, over whatever it listens on."""

import contextlib
import http.client
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from hookpost.cli import exits
from hookpost.cli.client import Failure
from hookpost.core.settings import Address, Tls, UnixAddress

TIMEOUT = 30.0  # seconds for the whole conversation's every step
EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound


class _Connection(http.client.HTTPConnection):
    """A connection over TCP or a UNIX socket, with TLS where there is a context."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._address = address
        self._context = context

    def connect(self) -> None:
        sock = _connected(self._address)
        if self._context is None:
            self.sock = sock
            return
        try:
            self.sock = self._context.wrap_socket(sock)
        except BaseException:
            sock.close()
            raise


def _connected(address: Address) -> socket.socket:
    if not isinstance(address, UnixAddress):
        host = EVERY_ADDRESS.get(address.host, address.host)
        return socket.create_connection((host, address.port), TIMEOUT)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT)
    try:
        sock.connect(os.fspath(address.path))
    except BaseException:
        sock.close()
        raise
    return sock


def trusting(tls: Tls, identity: Path | None) -> ssl.SSLContext:
    """A client's context that takes the listener's own certificate, whatever name it has.

    `identity` is a file with the certificate that is shown, and its key. Failure (64 or 66).
    """
    if tls.client_ca is not None and identity is None:
        message = (
            "the listener asks its clients for a certificate (tls.client_ca): give --cert FILE"
        )
        raise Failure(message, exits.USAGE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the address is that of this machine, not the public one
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(tls.cert)
    except OSError as error:
        raise Failure(f"{tls.cert}: {_reason(error)}", exits.NO_INPUT) from None
    if identity is not None:
        try:
            context.load_cert_chain(identity, password=lambda: "")
        except OSError as error:
            raise Failure(f"--cert {identity}: {_reason(error)}", exits.NO_INPUT) from None
    return context


def post(
    address: Address,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """Status and body of the answer. Failure (69) without one."""
    connection = _Connection(address, context)
    sent = {name: value.encode("utf-8", "surrogateescape") for name, value in headers.items()}
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", target, body, sent)  # may be refused half-way
        answer = connection.getresponse()
        return answer.status, answer.read()
    except PermissionError:
        raise Failure(f"{address} may not be opened by this user", exits.NO_PERMISSION) from None
    except ssl.SSLError as error:
        message = f"no TLS with {address}: {_reason(error)}"
        raise Failure(message, exits.UNAVAILABLE) from None
    except (OSError, http.client.HTTPException) as error:
        message = f"nobody answers at {address}: {_reason(error)}; is the gateway running?"
        raise Failure(message, exits.UNAVAILABLE) from None
    finally:
        connection.close()


def _reason(error: Exception) -> str:
    known = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(known or error or type(error).__name__)
