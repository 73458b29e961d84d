"""The three listeners are where the file says, and open to whom it says."""

import stat

import aiohttp
from tests.daemon.harness import TOKEN, Home, Nursery, Receiver

MODES = {"ingest": "0600", "ops": "0666", "admin": "0640"}


async def test_listeners_are_where_the_file_says_and_open_to_whom_it_says(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["listen"] = {
        name: {"address": f"unix:at/{name}.sock", "mode": mode} for name, mode in MODES.items()
    }
    home.config["sources"]["billing"]["allow_from"] = ["unix"]
    daemon = await nursery.start()
    sockets = {name: home.folder / "at" / f"{name}.sock" for name in MODES}
    for name, path in sockets.items():
        assert daemon.address(name) == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == int(MODES[name], 8), name
    async with unix(sockets["ingest"]) as session:
        event = {"eventType": "invoice.paid", "data": 1}
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with session.post("http://gateway/in/billing", json=event, headers=bearer) as answer:
            assert answer.status == 202
    await crm.count(1)
    async with unix(sockets["ops"]) as session, session.get("http://gateway/livez") as answer:
        assert answer.status == 200
    assert (await daemon.cli("status")).code == 0  # over the admin socket


def unix(path: object) -> aiohttp.ClientSession:
    """A client whose connections all go to this socket."""
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path)))
