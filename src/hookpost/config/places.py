"""Listeners, storage, retention and logging: where things are; checked and built."""

from pathlib import Path as FilePath
from typing import Any

from hookpost.config import policies, values
from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.config.schema import Json
from hookpost.core import units
from hookpost.core.settings import (
    Address,
    AdminListener,
    IngestListener,
    Listen,
    Logging,
    OpsListener,
    Retention,
    Storage,
    TcpAddress,
    UnixAddress,
)

_NAMES = ("ingest", "ops", "admin")


def default_socket(directory: FilePath, environ: Any) -> FilePath:
    """The admin socket where the file names none."""
    return _state(environ, "RUNTIME_DIRECTORY", directory / "run") / "admin.sock"


def default_database(directory: FilePath, environ: Any) -> FilePath:
    """The database where the file names none."""
    return _state(environ, "STATE_DIRECTORY", directory / "var") / "outbox.db"


def _state(environ: Any, variable: str, otherwise: FilePath) -> FilePath:
    """systemd's directory (the first of a list, systemd.exec(5)), else one beside the file."""
    given = environ.get(variable, "").split(":", 1)[0]
    return FilePath(given) if given else otherwise


def _directory(draft: Draft) -> FilePath:
    return draft.tree.files[draft.root.mark.file].parent


def _address(draft: Draft, name: str) -> Address | None:
    """A listener's address with its path made absolute; None where it is unsound."""
    path: Path = ("listen", name, "address")
    text = draft.part("listen", name).get("address")
    if text is None:
        if draft.written(path):
            return None
        match name:
            case "ingest":
                return IngestListener().address
            case "ops":
                return OpsListener().address
            case _:
                return UnixAddress(default_socket(_directory(draft), draft.environ))
    found = values.address(text)
    if isinstance(found, UnixAddress):
        return UnixAddress(_directory(draft) / found.path)
    return found


def check(draft: Draft) -> None:
    """Report listeners that share an address, and keys that would do nothing."""
    taken: dict[Address, str] = {}
    for name in _NAMES:
        address = _address(draft, name)
        if address is None:
            continue
        path: Path = ("listen", name, "address")
        first = taken.setdefault(address, name)
        if first != name and not (isinstance(address, TcpAddress) and address.port == 0):
            message = f"{address} is the address of {first} already; give each its own"
            draft.error(path, "duplicate-address", message)
        if isinstance(address, UnixAddress):
            length = len(bytes(address.path))
            if length > values.LONGEST_SOCKET:
                message = f"the socket's path has {length} bytes; Linux takes 107; shorten it"
                draft.error(path, "long-path", message)
        elif "mode" in draft.part("listen", name):
            message = f"a mode is for a unix: address, and this listener's is {address}; drop it"
            draft.error(("listen", name, "mode"), "misplaced-key", message)


# -- build -----------------------------------------------------------------------------------


def listen(draft: Draft) -> Listen:
    """The listeners of a draft without mistakes."""
    ingest = draft.part("listen", "ingest")
    limits: dict[str, Any] = policies.durations(ingest, "header_timeout", "body_timeout")
    limits |= {key: int(ingest[key]) for key in ("max_connections", "max_batch") if key in ingest}
    if "max_body" in ingest:
        limits["max_body"] = units.size(ingest["max_body"])
    if "trusted_proxies" in ingest:
        limits["trusted_proxies"] = values.peers(ingest["trusted_proxies"])
    if "public_url" in ingest:
        limits["public_url"] = values.base_url(ingest["public_url"])
    if draft.tls is not None:
        limits["tls"] = draft.tls
    addresses = {name: _address(draft, name) for name in _NAMES}
    admin = addresses["admin"]
    assert isinstance(admin, UnixAddress)  # noqa: S101 - the schema takes no other
    return Listen(
        ingest=IngestListener(
            address=addresses["ingest"] or IngestListener().address, **_mode(ingest), **limits
        ),
        ops=OpsListener(
            address=addresses["ops"] or OpsListener().address, **_mode(draft.part("listen", "ops"))
        ),
        admin=AdminListener(address=admin, **_mode(draft.part("listen", "admin"))),
    )


def _mode(data: Json) -> dict[str, Any]:
    return {"mode": values.mode(data["mode"])} if "mode" in data else {}


def storage(draft: Draft) -> Storage:
    """Where the outbox lives."""
    sqlite, data = draft.part("storage", "sqlite"), draft.part("storage")
    optional: dict[str, Any] = policies.given(sqlite, "synchronous")
    if "min_free" in data:
        optional["min_free"] = units.size(data["min_free"])
    directory = _directory(draft)
    given = sqlite.get("path")
    path = directory / given if given else default_database(directory, draft.environ)
    return Storage(path=path, **optional)


def retention(draft: Draft) -> Retention:
    """How long finished deliveries are kept."""
    data = draft.part("retention")
    size = {"max_size": units.size(data["max_size"])} if "max_size" in data else {}
    return Retention(**policies.durations(data, "delivered", "dead", "cancelled", "parked"), **size)


def logging(draft: Draft) -> Logging:
    """What is logged."""
    return Logging(**policies.given(draft.part("logging"), "level", "format"))
