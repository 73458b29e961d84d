"""Reload through a real process: all or nothing, by signal or by command."""

import asyncio
import json
import signal

import pytest
from standardwebhooks.webhooks import WebhookVerificationError
from tests import tokens
from tests.daemon.harness import (
    KEY,
    OTHER_KEY,
    TOKEN,
    Home,
    Nursery,
    Receiver,
    cli,
    conserved,
    taken_over,
    verified,
)


async def test_a_good_file_is_applied_at_sighup(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    daemon = await nursery.start()
    home.endpoint("audit")
    home.write()
    report = await daemon.reload()
    assert (report["msg"], report["result"]) == ("config.reloaded", "applied")
    await daemon.log("config.changed")  # it follows the line that `reload` waits for
    assert daemon.logged("config.changed", change="endpoints.audit: added")
    await daemon.accept({"n": 1})
    assert {each.path for each in await crm.count(2)} == {"/crm", "/audit"}
    metrics = await daemon.metrics()
    assert metrics['hookpost_config_reloads_total{result="applied"}'] == 1
    assert metrics["hookpost_config_last_reload_successful"] == 1
    assert metrics['hookpost_config_items{kind="endpoint"}'] == 2


async def test_a_bad_file_changes_nothing_and_every_mistake_is_logged(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    daemon = await nursery.start()
    before = await daemon.metrics()
    home.endpoint("audit")
    home.config["endpoints"]["crm"]["concurency"] = 3
    home.config["endpoints"]["audit"]["retry"] = "quik"
    home.write()
    report = await daemon.reload()
    assert (report["msg"], report["result"], report["mistakes"]) == (
        "config.rejected", "invalid", 2,
    )  # fmt: skip
    await daemon.log("config.mistake", 2)  # they follow the line that `reload` waits for
    told = [record["mistake"] for record in daemon.logged("config.mistake")]
    assert any('did you mean "concurrency"?' in mistake for mistake in told)
    assert any('did you mean "quick"?' in mistake for mistake in told)
    after = await daemon.metrics()
    assert after["hookpost_config_last_reload_successful"] == 0
    assert after['hookpost_config_reloads_total{result="invalid"}'] == 1
    assert after["hookpost_config_hash"] == before["hookpost_config_hash"]
    assert (await daemon.get("/readyz"))[0] == 200
    await daemon.accept({"n": 1})
    await crm.count(1)
    status = await daemon.status()
    assert set(status["endpoints"]) == {"crm"}
    assert (status["configuration"]["onDisk"], status["configuration"]["inStep"]) == (None, False)


async def test_a_sighup_while_the_daemon_starts_is_remembered(nursery: Nursery, home: Home) -> None:
    daemon = nursery.launch(preexec_fn=ignore_hangups)
    daemon.send(signal.SIGHUP)  # the interpreter has hardly begun
    taken_over(daemon.process.pid, signal.SIGHUP)
    daemon.send(signal.SIGHUP)
    home.endpoint("audit")
    home.write()
    await daemon.ready()
    await daemon.log("config.reloaded")
    assert (await daemon.status())["endpoints"].keys() == {"crm", "audit"}


async def test_a_storm_of_sighups_under_load_loses_and_repeats_nothing(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["endpoints"]["crm"]["concurrency"] = 3
    daemon = await nursery.start()
    ids: list[str] = []

    async def publish() -> None:
        for number in range(60):
            ids.extend(await daemon.accept({"n": number}))

    async def storm() -> None:
        for number in range(60):
            home.config["endpoints"]["crm"]["headers"] = {"X-Round": str(number)}
            home.write()
            daemon.send(signal.SIGHUP)
            await daemon.get("/livez")

    await asyncio.gather(publish(), publish(), storm())
    await crm.count(120)
    daemon.send(signal.SIGHUP)
    await daemon.log(
        "config.reloaded", new_hash=(await daemon.status())["configuration"]["running"]
    )
    assert sorted(each.id for each in crm.requests) == sorted(ids)
    assert crm.peak["/crm"] <= 3
    assert crm.requests[-1].headers["x-round"] != "0"
    assert await daemon.stop() == 0
    assert not daemon.logged("config.rejected")


async def test_the_reload_command_prints_the_verdict_and_its_exit_code(
    nursery: Nursery, home: Home
) -> None:
    daemon = await nursery.start()
    ran = await daemon.cli("reload")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("unchanged: ")
    home.endpoint("audit")
    home.write()
    ran = await daemon.cli("reload")
    assert ran.code == 0
    assert "endpoints.audit: added\n" in ran.out
    assert ran.out.splitlines()[-1].startswith("reloaded: ")

    home.config["endpoints"]["audit"]["timeuot"] = "3s"
    home.write()
    ran = await daemon.cli("reload")
    assert ran.code == 78
    assert 'did you mean "timeout"?' in ran.err
    assert ran.out.startswith("refused: 1 mistake; ")


async def test_a_restart_only_key_is_refused_by_name_with_exit_code_3(
    nursery: Nursery, home: Home
) -> None:
    daemon = await nursery.start()
    home.config["storage"]["min_free"] = "64MiB"
    home.config["listen"]["ops"]["address"] = "127.0.0.1:1"
    home.endpoint("audit")
    home.write()
    ran = await daemon.cli("reload")
    assert ran.code == 3
    assert "listen.ops.address changes only with a restart" in ran.err
    assert "storage.min_free changes only with a restart" in ran.err
    assert (await daemon.status())["endpoints"].keys() == {"crm"}
    metrics = await daemon.metrics()
    assert metrics['hookpost_config_reloads_total{result="restart_required"}'] == 1


async def test_reload_without_a_daemon_is_exit_code_69(home: Home) -> None:
    home.write()
    ran = await cli(home, "reload")
    assert ran.code == 69
    assert "no daemon answers at" in ran.err


async def test_a_rotated_secret_is_used_from_the_reload_on(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    await crm.count(1)
    home.secret("key", OTHER_KEY)
    home.secret("token", "canary-token-new")
    assert (await daemon.reload())["result"] == "applied"
    assert (await daemon.post({"n": 2}, token=TOKEN))[0] == 401
    assert (await daemon.post({"n": 2}, token="canary-token-new"))[0] == 202
    first, second = await crm.count(2)
    verified(first, KEY)
    verified(second, OTHER_KEY)
    with pytest.raises(WebhookVerificationError):
        verified(second, KEY)


async def test_a_rotated_key_set_is_used_from_the_reload_on(nursery: Nursery, home: Home) -> None:
    keys = home.folder / "keys.json"
    tokens.write(keys, tokens.public(tokens.CURVE))
    jwt = {"jwks_file": "keys.json", "issuer": tokens.ISSUER, "audience": tokens.AUDIENCE}
    home.config["sources"]["idp"] = {"path": "/in/idp", "auth": {"jwt": jwt}}
    daemon = await nursery.start()

    async def answers() -> list[int]:
        found = []
        for key, algorithm in ((tokens.CURVE, "ES256"), (tokens.EDWARDS, "EdDSA")):
            text = tokens.token(key, algorithm, exp=4_000_000_000)
            found.append((await daemon.post({"n": 1}, token=text, path="/in/idp"))[0])
        return found

    assert await answers() == [202, 401]
    tokens.write(keys, tokens.public(tokens.EDWARDS))
    assert (await daemon.reload())["result"] == "applied"
    assert await answers() == [401, 202]
    tokens.write(keys)
    assert (await daemon.reload())["msg"] == "config.rejected"
    assert await answers() == [401, 202]


async def test_an_emptied_secret_refuses_the_reload_and_the_old_one_stays(
    nursery: Nursery, home: Home
) -> None:
    daemon = await nursery.start()
    home.secret("token", "\n")
    ran = await daemon.cli("reload")
    assert ran.code == 78
    assert "token" in ran.err
    assert "empty" in ran.err
    assert (await daemon.post({"n": 1}))[0] == 202


async def test_an_endpoint_that_leaves_is_parked_and_revived_when_it_returns(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["endpoints"]["crm"]["paused"] = True
    home.endpoint("audit")
    daemon = await nursery.start()
    ids = await daemon.accept({"n": 1}, {"n": 2})
    await crm.count(2, "audit")
    was = home.remove("crm")
    home.write()
    await daemon.reload()
    crm_status = (await daemon.status())["endpoints"]["crm"]
    assert (crm_status["parked"], crm_status["pending"], crm_status["removed"]) == (2, 0, True)
    ran = await daemon.cli("deliveries", "list", "--state", "parked", "-o", "json")
    assert {each["eventId"] for each in ran.json} == set(ids)

    home.endpoint("crm", **{**was, "paused": False})
    home.write()
    await daemon.reload()
    assert [each.id for each in await crm.count(2, "crm")] == ids
    await daemon.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0)
    (shown,) = [each for each in (await daemon.cli("endpoints", "list", "-o", "json")).json
                if each["name"] == "crm"]  # fmt: skip
    assert conserved(shown)
    assert shown["delivered"] == 2


async def test_a_renamed_endpoint_takes_its_backlog_along(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["endpoints"]["crm"]["paused"] = True
    daemon = await nursery.start()
    (one,) = await daemon.accept({"n": 1})
    home.remove("crm")
    home.endpoint("sales", renamed_from="crm")
    home.write()
    await daemon.reload()
    (got,) = await crm.count(1, "sales")
    assert got.id == one
    assert (await daemon.status())["endpoints"].keys() == {"sales"}
    assert (await daemon.reload())["result"] == "unchanged"  # applied once, ignored from then on


@pytest.mark.parametrize(("rule", "state"), [("dead", "dead"), ("cancel", "cancelled")])
async def test_on_remove_ends_what_is_owed(
    nursery: Nursery, home: Home, crm: Receiver, rule: str, state: str
) -> None:
    home.config["endpoints"]["crm"].update(paused=True, on_remove=rule)
    home.endpoint("audit")
    daemon = await nursery.start()
    await daemon.accept({"n": 1}, {"n": 2})
    home.remove("crm")
    home.write()
    await daemon.reload()
    await daemon.log(
        "deliveries.dead" if rule == "dead" else "deliveries.cancelled", endpoint="crm"
    )
    ran = await daemon.cli("deliveries", "list", "--endpoint", "crm", "-o", "json")
    assert [each["state"] for each in ran.json] == [state, state]
    assert not crm.to("crm")
    if rule == "dead":
        assert {each["reason"] for each in ran.json} == {"removed"}
        metrics = await daemon.metrics()
        assert metrics['hookpost_dead_letters_total{endpoint="crm",reason="removed"}'] == 2


async def test_paused_in_the_file_holds_and_releases_without_burning_an_attempt(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["endpoints"]["crm"]["paused"] = True
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    ran = await daemon.cli("endpoints", "resume", "crm")
    assert ran.code == 1
    assert "paused: true" in ran.out
    assert not crm.requests
    home.config["endpoints"]["crm"]["paused"] = False
    home.write()
    await daemon.reload()
    (got,) = await crm.count(1)
    assert got.headers["hookpost-attempt"] == "1"


async def test_limits_resized_under_load_hold_at_every_instant(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    crm.hang()
    home.config["endpoints"]["crm"]["concurrency"] = 6
    daemon = await nursery.start()
    await daemon.accept(*({"n": number} for number in range(20)))
    await crm.until(lambda: crm.in_flight["/crm"] == 6)
    home.config["endpoints"]["crm"]["concurrency"] = 2
    home.write()
    await daemon.reload()
    crm.peak.clear()
    crm.release()
    await crm.count(20)
    # Whoever begins after the reload finds fewer than two others there, once the six have ended.
    late = crm.requests[6:]
    assert len(late) == 14
    assert crm.peak["/crm"] <= 2, "the smaller limit was exceeded"
    await daemon.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0)


async def test_a_request_and_an_attempt_end_by_the_configuration_they_began_with(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    crm.hang()
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    await crm.count(1)
    home.config["endpoints"]["crm"]["url"] = crm.url("moved")
    home.config["endpoints"]["crm"]["headers"] = {"X-Env": "new"}
    home.write()
    await daemon.reload()
    crm.release()
    await daemon.log("attempt.finished", result="success")
    await daemon.accept({"n": 2})
    (moved,) = await crm.count(1, "moved")
    assert moved.headers["x-env"] == "new"
    assert [each.answered for each in crm.to("crm")] == [204]


def ignore_hangups() -> None:
    """As the shipped unit starts the daemon."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def test_a_delivery_keeps_the_payload_it_was_put_with(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    """P7, over a reload and a restart: the same bytes on every attempt."""
    home.config["endpoints"]["crm"]["payload"] = "envelope"
    home.config["retry_policies"]["quick"] = {"schedule": ["100ms", "1h"], "jitter": "none"}
    daemon = await nursery.start()
    crm.answer = lambda _: 500
    await daemon.accept({"n": 1})
    (first,) = await crm.count(1)
    home.config["endpoints"]["crm"]["payload"] = "raw"
    home.write()
    assert (await daemon.reload())["msg"] == "config.reloaded"
    await crm.count(2)
    assert await daemon.stop() == 0
    crm.answer = lambda _: 204
    again = await nursery.start()
    await again.accept({"n": 2})
    received = await crm.count(3)
    (old,) = [one for one in received if one.id == first.id and one is not first][:1]
    assert old.body == first.body
    assert json.loads(first.body)["data"] == {"n": 1}
    assert [json.loads(one.body) for one in received if one.id != first.id] == [{"n": 2}]
    ran = await again.cli("deliveries", "retry", "--all", "--endpoint", "crm", "--yes")
    assert ran.code == 0, ran.err
    received = await crm.count(4)
    assert {one.body for one in received if one.id == first.id} == {first.body}
    assert await again.stop() == 0
