"""Thin payloads through a real process: a signed link, followed where events come in."""

import aiohttp
from tests.daemon.harness import Daemon, Home, Nursery, Receiver, verified

CANARY = "canary-of-a-private-payload"


def thin(home: Home) -> None:
    """crm is sent links; they begin with an address that is followed by hand."""
    home.config["endpoints"]["crm"]["payload"] = "thin"
    home.config["listen"]["ingest"]["public_url"] = "https://hooks.example.com/gate"


async def follow(daemon: Daemon, link: str) -> tuple[int, bytes]:
    """As a proxy would that answers for the public address."""
    path = link.removeprefix("https://hooks.example.com/gate")
    assert path.startswith("/payloads/")
    url = f"http://{daemon.address('ingest')}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.read()


async def test_a_thin_payload_leads_to_the_data_as_long_as_it_is_kept(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    thin(home)
    crm.answer = lambda _: 400
    daemon = await nursery.start()
    await daemon.accept({"text": CANARY})
    *earlier, got = await crm.count(3)
    payload = verified(got)
    assert {one.body for one in earlier} == {got.body}
    assert payload.keys() == {"eventId", "eventType", "occurredAt", "dataUrl"}
    status, data = await follow(daemon, payload["dataUrl"])
    assert (status, data) == (200, b'{"text": "%b"}' % CANARY.encode())
    assert (await follow(daemon, payload["dataUrl"] + "x"))[0] == 404
    await daemon.log("delivery.dead")
    assert (await daemon.cli("dead-letters", "purge", "1", "--yes")).code == 0
    assert (await follow(daemon, payload["dataUrl"]))[0] == 410
    metrics = await daemon.metrics()
    codes = [metrics[f'hookpost_payload_requests_total{{code="{n}"}}'] for n in (200, 404, 410)]
    assert codes == [1, 1, 1]
    assert await daemon.stop() == 0
    signature = payload["dataUrl"].partition("?sig=")[2]
    assert signature not in daemon.text
    assert CANARY not in daemon.text


async def test_links_outlive_a_restart_a_rotation_and_another_payload(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    thin(home)
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    (got,) = await crm.count(1)
    link = verified(got)["dataUrl"]
    assert await daemon.stop() == 0
    home.config["endpoints"]["crm"].update(payload="auto", signing="none")
    del home.config["listen"]["ingest"]["public_url"]
    daemon = await nursery.start()
    assert await follow(daemon, link) == (200, b'{"n": 1}')
    home.remove("crm")
    home.write()
    await daemon.reload()
    assert (await follow(daemon, link))[0] == 404
    assert await daemon.stop() == 0


async def test_the_key_is_made_by_the_reload_that_needs_it_or_the_reload_changes_nothing(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    daemon = await nursery.start()
    key = home.database.with_name("outbox.db.links")
    assert not key.exists()
    key.write_bytes(b"no key")
    thin(home)
    home.write()
    refused = await daemon.reload()
    assert (refused["msg"], refused["result"]) == ("config.rejected", "error")
    await daemon.accept({"n": 1})
    assert verified((await crm.count(1))[0])["data"] == {"n": 1}
    key.unlink()
    assert (await daemon.reload())["result"] == "applied"
    await daemon.accept({"n": 2})
    link = verified((await crm.count(2))[1])["dataUrl"]
    assert await follow(daemon, link) == (200, b'{"n": 2}')
    assert key.read_bytes() not in b"".join(
        path.read_bytes() for path in home.database.parent.iterdir() if path != key
    )
    assert await daemon.stop() == 0
