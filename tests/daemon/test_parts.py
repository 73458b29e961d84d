"""Settings that reach their part only if the composition hands them on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.daemon.harness import (
    OTHER_KEY,
    TOKEN,
    Daemon,
    Home,
    Nursery,
    Receiver,
    environment,
    verified,
)
from tests.ingest_rig import Client

EVENT = b'{"eventType":"invoice.paid","data":1}'


def request(body: bytes, content_type: str = "application/json", more: int = 0) -> bytes:
    """A request that announces `more` bytes than it has."""
    lines = (
        "POST /in/billing HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body) + more}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_what_a_request_may_cost_is_what_the_file_says(nursery: Nursery, home: Home) -> None:
    home.config["listen"]["ingest"].update(
        max_body="1KiB", max_batch=2, header_timeout="300ms", body_timeout="300ms"
    )
    daemon = await nursery.start()

    async def answered(raw: bytes) -> tuple[int, str | None]:
        async with connected(daemon, 1) as (client,):
            reply = await client.ask(raw)
        return reply.status, reply.json.get("code")

    assert await answered(request(EVENT + b" " * (1024 - len(EVENT)))) == (202, None)
    assert await answered(request(EVENT + b" " * (1025 - len(EVENT)))) == (413, "too_large")
    lines = [request(b"\n".join([EVENT] * count), "application/x-ndjson") for count in (2, 3)]
    assert [await answered(each) for each in lines] == [(202, None), (413, "batch_too_large")]
    halves = [b"POST /in/billing HTTP/1.1\r\n", request(EVENT, more=1)]
    assert [await answered(each) for each in halves] == [(408, "request_timeout")] * 2


async def test_as_many_connections_are_open_as_the_file_says(nursery: Nursery, home: Home) -> None:
    home.config["listen"]["ingest"]["max_connections"] = 2
    daemon = await nursery.start()
    async with connected(daemon, 2) as (first, second):
        assert (await first.ask(request(EVENT))).status == 202
        assert (await second.ask(request(EVENT))).status == 202
        async with connected(daemon, 1) as (third,):
            assert (await third.reply()).json["code"] == "too_many_connections"


@contextlib.asynccontextmanager
async def connected(daemon: Daemon, number: int) -> AsyncIterator[list[Client]]:
    """Publishers' connections that nothing has been sent on."""
    host, port = daemon.address("ingest").split(":")
    clients = [Client(*await asyncio.open_connection(host, port)) for _ in range(number)]
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()


async def test_secrets_come_from_where_the_file_says(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.secret("place", crm.url("hidden"))
    home.config["secrets"] = {
        "token": {"env": "PUBLISHERS_TOKEN"},
        "key": {"credential": "signing_key"},
        "place": {"file": "secrets/place"},
    }
    home.endpoint("crm", url={"secret": "place"})
    credentials = home.folder / "credentials"
    credentials.mkdir()
    (credentials / "signing_key").write_text(OTHER_KEY)
    daemon = await nursery.start(
        env=environment(
            PUBLISHERS_TOKEN="from-the-environment", CREDENTIALS_DIRECTORY=str(credentials)
        )
    )
    assert (await daemon.post({"n": 1}))[0] == 401
    assert (await daemon.post({"n": 1}, token="from-the-environment"))[0] == 202
    (got,) = await crm.count(1, "hidden")
    verified(got, OTHER_KEY)
    (shown,) = (await daemon.cli("endpoints", "list", "-o", "json")).json
    assert shown["url"] == "secret:place"


async def test_max_pending_is_obeyed_and_grows_with_a_reload(nursery: Nursery, home: Home) -> None:
    home.config["endpoints"]["crm"].update(paused=True, max_pending=1)
    daemon = await nursery.start()
    await daemon.accept({"n": 1}, {"n": 2})
    home.config["endpoints"]["crm"]["max_pending"] = 2
    home.write()
    assert (await daemon.reload())["result"] == "applied"
    await daemon.accept({"n": 3}, {"n": 4})
    status = (await daemon.status())["endpoints"]["crm"]
    assert status["pending"] == 2
    metrics = await daemon.metrics()
    assert metrics['hookpost_dead_letters_total{endpoint="crm",reason="overflow"}'] == 2
