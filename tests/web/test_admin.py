"""The admin socket: which answers get which status, and who asked."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.builders import FakeClock, an_event

from hookpost.core.errors import StorageUnavailable
from hookpost.core.settings import UnixAddress
from hookpost.daemon.sockets import listening
from hookpost.services.operations import Operations
from hookpost.storage.outbox import EndpointSpec
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.web.admin import admin_app
from hookpost.web.pages import Pages

Asked = tuple[int, Any]


class Admin:
    """An admin socket at work."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, method: str, path: str, **options: Any) -> Asked:
        async with self._session.request(method, f"http://localhost{path}", **options) as answer:
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()


async def reloaded() -> Mapping[str, Any]:
    return {"result": "unchanged"}


async def failing() -> Mapping[str, Any]:
    raise StorageUnavailable("the outbox is closed")


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    clock = FakeClock()
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    rows = await outbox.apply_endpoints([EndpointSpec(name="crm")], clock.now())
    await outbox.put(an_event(body=b'"\xed\xa0\x80"'), [rows["crm"].id])
    path = tmp_path / "admin.sock"
    pages = Pages()
    app = admin_app(Operations(outbox, clock), reload=reloaded, status=failing)
    await pages.serve(app, listening("admin", UnixAddress(path), 0o660))
    connector = aiohttp.UnixConnector(path=os.fspath(path))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Admin(session)
    await pages.close()
    await outbox.close()


async def test_verbs_answer_json(admin: Admin) -> None:
    status, shown = await admin("GET", "/deliveries?states=pending&limit=5")
    assert (status, [each["id"] for each in shown["deliveries"]]) == (200, [1])
    assert await admin("POST", "/reload") == (200, {"result": "unchanged"})
    assert (await admin("GET", "/deliveries/1"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/reload", {}, 404),
        ("DELETE", "/deliveries/1", {}, 404),
        ("GET", "/deliveries/77", {}, 404),
        ("GET", "/deliveries?limit=x", {}, 400),
        ("GET", "/deliveries?limit=501", {}, 409),
        ("POST", "/deliveries/cancel", {"data": b"{"}, 400),
        ("POST", "/deliveries/cancel", {"data": b"[]"}, 400),
        ("POST", "/deliveries/cancel", {"data": b"[" * 100_000}, 400),
        ("POST", "/deliveries/cancel", {"json": {"endpont": "crm"}}, 400),
        ("GET", "/status", {}, 503),
    ],
)
async def test_errors_have_a_status_and_words(
    admin: Admin, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    answered, shown = await admin(method, path, **options)
    assert answered == status
    assert shown["error"]


async def test_every_change_is_logged_with_the_peers_uid(
    admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hookpost.admin")
    await admin("POST", "/endpoints/crm/pause")
    (record,) = [each for each in caplog.records if each.msg == "admin.requested"]
    assert record.fields == {"path": "/endpoints/crm/pause", "uid": os.getuid()}  # type: ignore[attr-defined]
