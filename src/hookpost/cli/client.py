"""The command line's way to a running daemon: HTTP over the admin socket, standard library only."""

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hookpost.cli import exits
from hookpost.core.errors import GatewayError

TIMEOUT = 60.0  # seconds; a reload or a bulk verb may take a while


class Failure(GatewayError):
    """The command cannot go on; `code` is its exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(os.fspath(self._path))
        except OSError:
            self.sock.close()
            raise


class AdminClient:
    """Asks one daemon. Failure carries the exit code: 69 unreachable, 77 forbidden, 1 refused."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """GET; parameters that are None are left out."""
        wanted = {key: value for key, value in query.items() if value is not None}
        return self._ask("GET", path + ("?" + urlencode(wanted) if wanted else ""), None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST a JSON object."""
        return self._ask("POST", path, json.dumps(body or {}).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        connection = _UnixConnection(self._path, self._timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (FileNotFoundError, ConnectionRefusedError):
            raise Failure(
                f"no daemon answers at {self._path}; is it running? "
                "(another socket: --socket PATH or HOOKPOST_SOCKET)",
                exits.UNAVAILABLE,
            ) from None
        except PermissionError:
            raise Failure(
                f"{self._path} may not be opened by this user; "
                "join the service's group, or use sudo",
                exits.NO_PERMISSION,
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Failure(
                f"the daemon at {self._path} did not answer: {error or type(error).__name__}",
                exits.UNAVAILABLE,
            ) from None
        finally:
            connection.close()
        return _judged(answer.status, text)


def _judged(status: int, text: bytes) -> dict[str, Any]:
    try:
        shown = json.loads(text)
    except ValueError:
        raise Failure(f"the daemon answered {status} and no JSON", exits.UNAVAILABLE) from None
    if status == http.client.OK and isinstance(shown, dict):
        return shown
    words = shown.get("error", f"status {status}") if isinstance(shown, dict) else f"{status}"
    code = exits.UNAVAILABLE if status == http.client.SERVICE_UNAVAILABLE else exits.NEGATIVE
    raise Failure(str(words), code)


def path_of(*parts: object) -> str:
    """A path whose parts are quoted."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)
