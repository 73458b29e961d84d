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


async def test_a_proxy_on_this_machine_may_speak_for_its_clients(
    nursery: Nursery, home: Home
) -> None:
    home.config["listen"]["ingest"] = {"address": "unix:in.sock", "trusted_proxies": ["unix"]}
    home.config["sources"]["billing"]["allow_from"] = ["192.0.2.0/24"]
    daemon = await nursery.start()
    event, bearer = {"eventType": "invoice.paid", "data": 1}, {"Authorization": f"Bearer {TOKEN}"}
    async with unix(home.folder / "in.sock") as session:

        async def status(**forwarded: str) -> int:
            headers = {name.replace("_", "-"): value for name, value in forwarded.items()} | bearer
            url = "http://gateway/in/billing"
            async with session.post(url, json=event, headers=headers) as answer:
                return answer.status

        assert await status(X_Forwarded_For="192.0.2.1") == 202
        assert await status(Forwarded="for=192.0.2.1;proto=https") == 202
        assert await status(X_Forwarded_For="192.0.2.1, 203.0.113.9") == 403
        assert await status() == 403
    await daemon.log("request.rejected", peer="203.0.113.9")  # the log is read in its own time


def unix(path: object) -> aiohttp.ClientSession:
    """A client whose connections all go to this socket."""
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path)))
