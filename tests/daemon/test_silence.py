"""P9: secrets and payloads appear nowhere but where they belong."""

import base64
import json

from tests.daemon.harness import KEY, TOKEN, Home, Nursery, Receiver, pages

QUERY = "canary-query-77aa"
BASIC = "canary-password-91bb"
HEADER = "canary-api-key-33cc"


async def test_secrets_never_appear_in_what_the_daemon_says_or_keeps(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.secret("url", f"{crm.url('hidden')}?token={QUERY}")
    home.secret("basic", BASIC)
    home.secret("header", HEADER)
    home.config["secrets"] |= {
        "url": {"file": "secrets/url"},
        "basic": {"file": "secrets/basic"},
        "header": {"file": "secrets/header"},
    }
    home.config["sources"]["legacy"] = {
        "path": "/in/legacy",
        "auth": {"basic": {"username": "legacy", "passwords": ["basic"]}},
    }
    home.config["sources"]["keyed"] = {
        "path": "/in/keyed",
        "auth": {"api_key": {"header": "X-Api-Key", "secrets": ["header"]}},
    }
    home.endpoint("hidden", url={"secret": "url"})
    home.config["endpoints"]["crm"]["url"] += f"?token={QUERY}"
    crm.answer = lambda received: 204 if received.path == "/crm" else 500
    daemon = await nursery.start("--log-level", "debug")
    await daemon.accept({"body": "canary-body"})
    await daemon.post({"n": 1}, token=TOKEN[:-1])
    await daemon.post({"n": 1}, path="/in/legacy")
    await daemon.log("delivery.dead", endpoint="hidden")
    await daemon.reload()
    home.secret("token", "")
    await daemon.reload()

    said = {page: (await daemon.get(page))[1] for page in ("/metrics", "/status", "/readyz")}
    for words in (
        ("endpoints", "list"), ("endpoints", "show", "hidden"), ("endpoints", "show", "crm"),
        ("deliveries", "list"), ("dead-letters", "show", "2"), ("dead-letters", "list"),
        ("status",), ("reload",),
    ):  # fmt: skip
        ran = await daemon.cli(*words, "-o", "json")
        said[" ".join(words)] = ran.out + ran.err
    said["arguments"] = daemon.arguments()
    said["log"] = daemon.text
    assert "canary-body" in said["dead-letters show 2"], "the check would see a canary"
    assert await daemon.stop() == 0
    said["log"] = daemon.text

    secrets = [TOKEN, KEY, KEY.removeprefix("whsec_"), BASIC, HEADER, QUERY]
    secrets += [base64.b64decode(KEY.removeprefix("whsec_")).decode()]
    for where, text in said.items():
        for secret in secrets:
            assert secret not in text, f"{where} tells a secret"
    for path, content in pages(home):
        for secret in secrets:
            assert secret.encode() not in content, f"{path.name} holds a secret"
    assert "canary-body" not in said["log"]
    assert "canary-body" not in json.dumps([said["/metrics"], said["/status"]])
