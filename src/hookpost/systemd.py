"""The service manager's side of life: notifications, watchdog, sockets passed in.

The protocols are those of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). Variables
are taken out of the environment as they are read, so that no child takes them for its own.
"""

import logging
import os
import socket
from collections.abc import Callable, Collection, MutableMapping
from typing import Self

from hookpost.clock import Clock
from hookpost.core.errors import GatewayError

log = logging.getLogger("hookpost.systemd")

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
PATIENCE = 0.5  # seconds that a full queue of the manager may delay what it must hear
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)

Environment = MutableMapping[str, str]


class SystemdError(GatewayError):
    """The service manager passed something that cannot be used."""


class Notifier:
    """Says what the daemon is at; every verb does nothing where no manager listens."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._deaf = False

    @classmethod
    def from_environment(cls, environ: Environment) -> Self:
        """The notifier for NOTIFY_SOCKET, a path or an abstract name (`@…`).

        Raises SystemdError for any other kind of address.
        """
        address = environ.pop("NOTIFY_SOCKET", None) or None
        if address is not None and address[0] not in "/@":
            raise SystemdError(
                f"NOTIFY_SOCKET {address!r} is neither a path nor an abstract name: "
                "start the daemon with Type=notify under systemd, or without the variable"
            )
        return cls(address)

    @property
    def listening(self) -> bool:
        """Whether a service manager asked to be told."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The daemon serves; also ends a reload, whether it was applied or not."""
        self._send(f"READY=1\nSTATUS={_line(status)}", PATIENCE)

    def reloading(self, monotonic: float) -> None:
        """A reload begins; `monotonic` is the monotonic clock's reading, in seconds."""
        usec = int(monotonic * 1_000_000)
        self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=reloading", PATIENCE)

    def stopping(self, status: str = "draining") -> None:
        """The daemon begins to end."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}", PATIENCE)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(text)}", 0.0)

    def watchdog(self) -> None:
        """The daemon is alive."""
        self._send("WATCHDOG=1", 0.0)

    def extend_timeout(self, seconds: float) -> None:
        """Starting or stopping takes up to `seconds` more, from now: do not give up on it."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}", PATIENCE)

    def _send(self, text: str, timeout: float) -> None:
        if self._address is None:
            return
        path = self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(timeout)
                out.sendto(text.encode(), "\0" + path[1:] if path[0] == "@" else path)
            self._deaf = False
        except OSError as error:  # the service goes on; the manager notices by itself
            if not self._deaf:
                fields = {"error": str(error), "notification": text.split("=", 1)[0].lower()}
                log.warning("notify.failed", extra={"fields": fields})
            self._deaf = True


def watchdog_interval(environ: Environment, pid: int) -> float | None:
    """Within how many seconds the manager wants to hear of process `pid`; None: not at all.

    Raises SystemdError where WATCHDOG_USEC or WATCHDOG_PID is not a number.
    """
    usec = environ.pop("WATCHDOG_USEC", None)
    owner = environ.pop("WATCHDOG_PID", None)
    if usec is None or (owner is not None and _number("WATCHDOG_PID", owner) != pid):
        return None
    interval = _number("WATCHDOG_USEC", usec) / 1_000_000
    return interval if interval > 0 else None


async def keep_watchdog(
    notifier: Notifier, interval: float, clock: Clock, healthy: Callable[[], bool]
) -> None:
    """Ping the watchdog from the event loop, twice an interval, while `healthy()` says so.

    Runs until cancelled. It must be a coroutine of the loop that does the work: a thread would go
    on pinging for a loop that hangs.
    """
    withheld = False
    while True:
        if healthy():
            notifier.watchdog()
            withheld = False
        elif not withheld:
            withheld = True
            log.error("watchdog.withheld", extra={"fields": {"restart_within": interval}})
        await clock.sleep(interval / 2)


def passed_sockets(
    environ: Environment,
    *,
    names: Collection[str],
    pid: int,
    first: int = FIRST_DESCRIPTOR,
) -> dict[str, socket.socket]:
    """The listening sockets that the manager passed to process `pid`, by FileDescriptorName=.

    Only `names` are known; each may be passed once. Sockets come non-blocking and are not
    inherited by children. Raises SystemdError for a name nobody asked for or asked for twice, and
    for a descriptor that is not a listening stream socket of a known family.
    """
    owner = environ.pop("LISTEN_PID", None)
    count = environ.pop("LISTEN_FDS", None)
    listed = environ.pop("LISTEN_FDNAMES", None)
    if owner is None or count is None or _number("LISTEN_PID", owner) != pid:
        return {}
    number = _number("LISTEN_FDS", count)
    given = listed.split(":") if listed is not None else ["unknown"] * number
    if len(given) != number:
        raise SystemdError(f"LISTEN_FDS is {number}, but LISTEN_FDNAMES names {len(given)}")
    found: dict[str, socket.socket] = {}
    try:
        for offset, name in enumerate(given):
            _check_name(name, names, found)
            found[name] = _listener(first + offset, name)
    except SystemdError:
        for each in found.values():
            each.close()
        raise
    return found


def _check_name(name: str, names: Collection[str], found: Collection[str]) -> None:
    if name not in names:
        raise SystemdError(
            f"a socket named {name!r} was passed, but the listeners are "
            f"{', '.join(sorted(names))}: "
            "set FileDescriptorName= in the .socket unit to one of them"
        )
    if name in found:
        raise SystemdError(
            f"two sockets named {name!r} were passed: keep one ListenStream= for each listener"
        )


def _listener(descriptor: int, name: str) -> socket.socket:
    try:
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SystemdError(
            f"descriptor {descriptor}, passed as {name!r}, is not a socket: {error.strerror}"
        ) from error
    listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if found.family not in FAMILIES or found.type != socket.SOCK_STREAM or not listening:
        found.close()
        raise SystemdError(
            f"descriptor {descriptor}, passed as {name!r}, is not a listening stream socket: "
            "use ListenStream= and Accept=no in the .socket unit"
        )
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only
    found.settimeout(0.0)
    return found


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise SystemdError(f"{name} is {text!r}, which is not a number")
    return int(text)


def _line(text: str) -> str:
    """A status on one line: it must not be able to add a variable of its own."""
    return "".join(each if each.isprintable() else " " for each in text)
