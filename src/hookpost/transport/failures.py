"""What went wrong on the way, in the project's own words: exceptions end here."""

import os
import ssl

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    InvalidURL,
    ServerDisconnectedError,
)
from aiohttp.http import HttpProcessingError

from hookpost.core.model import Outcome, Result
from hookpost.transport.connector import Progress
from hookpost.transport.resolver import LookupFailed, Refused
from hookpost.transport.tunnel import ProxyFailed

ERROR_KEPT = 200  # characters


def one_line(text: str) -> str:
    """Text of strangers as one printable line: control, bidi and surrogate characters escaped."""
    shown = text[: ERROR_KEPT + 1]
    if not shown.isprintable():
        shown = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
            for letter in shown
        )
    return shown if len(shown) <= ERROR_KEPT else shown[: ERROR_KEPT - 1] + "…"


def failed(result: Result, error: str, *, permanent: bool = False) -> Outcome:
    """An attempt that got no answer."""
    return Outcome(result=result, error=one_line(error), permanent=permanent)


def outcome_of(error: Exception, progress: Progress, where: str) -> Outcome:
    """What an attempt came to that ended in an exception before an answer's head.

    `where` is the host and port, for people. Texts of aiohttp are not used: some hold the URL.
    """
    match error:
        case ClientConnectorError():
            return _not_connected(error, where)
        case ProxyFailed(result=result):
            return failed(result, str(error))
        case Refused():
            return failed(Result.BLOCKED, str(error))
        case LookupFailed():
            return failed(Result.DNS, f"cannot look up {where}: {error}")
    connection = progress.connection
    reason = _reason(error)
    if connection is not None and connection.uses > 1 and not connection.heard:
        text = f"{where} closed a kept-alive connection as it was used again: {reason}"
        return failed(Result.REUSED_CONNECTION, text)
    cause = error.__cause__
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return failed(Result.TLS, f"TLS with {where} failed: {reason}")
    if isinstance(error, HttpProcessingError):
        return failed(Result.CONNECT, f"the answer of {where} is not HTTP/1.1: {reason}")
    return failed(Result.CONNECT, f"the connection to {where} failed: {reason}")


def _not_connected(error: ClientConnectorError, where: str) -> Outcome:
    """There is no connection: name, address, TCP or TLS."""
    cause = error.os_error if isinstance(error.os_error, Exception) else error
    if isinstance(cause, Refused):
        return failed(Result.BLOCKED, str(cause))
    if isinstance(error, ClientConnectorDNSError):
        return failed(Result.DNS, f"cannot look up {where}: {_reason(cause)}")
    # TCP's own refusals apart, a connection breaks off here only during the TLS handshake
    broken_off = isinstance(cause, ConnectionError) and not isinstance(
        cause, ConnectionRefusedError
    )
    if isinstance(cause, ssl.SSLError) or broken_off:
        return failed(Result.TLS, f"TLS with {where} failed: {_reason(cause)}")
    return failed(Result.CONNECT, f"cannot connect to {where}: {_reason(cause)}")


def _reason(error: BaseException) -> str:
    """The shortest honest text of an exception, without addresses of memory or URLs."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate not accepted, {error.verify_message or error.reason}"
        case ssl.SSLError():
            return error.reason or str(error)
        case ServerDisconnectedError():
            return "it was closed before an answer"
        case HttpProcessingError():
            return error.message.partition("\n")[0] or "it cannot be read"
        case InvalidURL():
            return "the URL is not accepted"
        case OSError() if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        case ConnectionError():
            return "it was broken off"
        case ClientError() if not isinstance(error, ClientPayloadError):
            cause = error.__cause__
            return "it was lost" if cause is None or cause is error else _reason(cause)
        case _:
            return str(error) or type(error).__name__
