"""What is allowed and probably not meant: warnings, which fail only `--strict`."""

import re
import resource
from typing import Any

from hookpost.config import ordering, policies, schema, subscriptions, values
from hookpost.config.draft import Draft
from hookpost.core import units
from hookpost.core.settings import IngestListener, Retention

_SPARE_DESCRIPTORS = 64
"""Descriptors beside connections: database, log, listeners, resolver threads."""

_PAGES = 2 * 128
"""Connections that ops and admin take at most: `web.pages`, which stands above, has the number."""

_LEAST_FREE = 32 << 20
"""Bytes: the ballast that the outbox lays beside the database, twice."""

_CREDENTIAL = re.compile(
    r"authorization|cookie|.*(token|secret|password|api-?key|credential).*", re.IGNORECASE
)


def credential_like(header: str) -> bool:
    """Whether a header's name says that its value is a credential."""
    return _CREDENTIAL.fullmatch(header) is not None


def give(draft: Draft) -> None:
    """Report every warning that the other checks do not."""
    _sources(draft)
    _endpoints(draft)
    subscriptions.advise(draft)
    _ages(draft)
    _reserve(draft)
    _descriptors(draft)
    _proxies(draft)


def _sources(draft: Draft) -> None:
    for name, data in draft.entries("sources"):
        path = ("sources", name, "auth")
        auth = data.get("auth", "none")
        if auth == "none" and draft.written(("sources", name, "preset")):
            continue  # which is none, and a mistake
        if auth == "none":
            explicit = "auth" in data
            if not (draft.written(path) and not explicit) and not (
                explicit and draft.written(("sources", name, "allow_from"))
            ):
                message = "everybody may send here; give auth, or auth: none with allow_from"
                draft.name_warning(("sources", name), "unverified-source", message)
            continue
        for place, names in _secret_lists(auth):
            _live(draft, (*path, *place), names, "no request can be verified until one is")
        for key in ("secrets", "handshake_secrets"):
            names = draft.listed(data.get(key))
            _live(draft, ("sources", name, key), names, "no request can be verified until one is")


def _secret_lists(auth: dict[str, object]) -> list[tuple[tuple[str, ...], list[str]]]:
    keyed = ("api_key", "hmac", "public_key", "twilio", "body_secret")
    places = (("bearer",), ("basic", "passwords"), *((member, "secrets") for member in keyed))
    found: list[tuple[tuple[str, ...], list[str]]] = []
    for place in places:
        value: object = auth
        for step in place:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, list):
            found.append((place, [name for name in value if isinstance(name, str)]))
    return found


def _live(draft: Draft, path: tuple[str, ...], names: list[str], consequence: str) -> None:
    secrets = [draft.secrets.get(name) for name in names]
    if not secrets or None in secrets:
        return
    if not any(secret.live(draft.wall) for secret in secrets if secret is not None):
        message = f"none of its secrets is live now: {', '.join(names)}; {consequence}"
        draft.warning(path, "no-live-key", message)


def _endpoints(draft: Draft) -> None:
    for name, _ in draft.entries("endpoints"):
        data, home = draft.endpoint(name), draft.home(name, "signing")
        signing = data.get("signing", "none")
        if signing == "none" and not (draft.written(home) and "signing" not in data):
            message = "requests go out unsigned; give signing: {standard_webhooks: [SECRET]}"
            draft.name_warning(("endpoints", name), "unsigned-endpoint", message)
        elif isinstance(signing, dict):
            _live_signing(draft, (*map(str, home),), signing)
        _live_credential(draft, name)
        _timeout(draft, name)
        ordering.advise(draft, name)
    for path in [("endpoint_defaults",), *(("endpoints", n) for n in draft.names("endpoints"))]:
        for header in draft.part(*path).get("headers", {}):
            if credential_like(header):
                message = "this looks like a credential, which would stand in clear in the file"
                draft.warning((*path, "headers", header), "inline-credential", message)


def _live_signing(draft: Draft, home: tuple[str, ...], signing: dict[str, Any]) -> None:
    """One live key of any member is enough."""
    lists = {
        key: draft.listed(value["secrets"] if key == "hmac" else value)
        for key, value in signing.items()
        if key != "hmac" or "secrets" in value
    }
    place = (*home, *lists) if len(lists) == 1 else home
    _live(draft, place, [name for names in lists.values() for name in names], "deliveries are held")


def _live_credential(draft: Draft, name: str) -> None:
    auth = draft.endpoint(name).get("auth")
    places = (
        ("bearer",),
        ("basic", "password"),
        ("api_key", "secret"),
        ("oauth2", "client_secret"),
    )
    for place in places if isinstance(auth, dict) else ():
        value: object = auth
        for step in place:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, str):
            path = (*map(str, draft.home(name, "auth")), *place)
            _live(draft, path, [value], "deliveries are held")


def _timeout(draft: Draft, name: str) -> None:
    data = draft.endpoint(name)
    retry = draft.part("retry_policies", data.get("retry", "standard"))
    if "timeout" not in data or "max_age" not in retry:
        return
    if units.duration(data["timeout"]) >= units.duration(retry["max_age"]):
        message = (
            f"one attempt may take {data['timeout']}, as long as a delivery may be tried "
            f"({retry['max_age']}); lower timeout or raise max_age"
        )
        draft.warning(draft.home(name, "timeout"), "contradiction", message)


def _ages(draft: Draft) -> None:
    """Retention shorter than a round: parked deliveries die, and dead ones go, before it ends."""
    longest, policy = 0.0, ""
    for name, _ in draft.entries("endpoints"):
        wanted = draft.endpoint(name).get("retry", "standard")
        age = policies.retry_policies({}).get(wanted)
        data = draft.part("retry_policies", wanted)
        seconds = units.duration(data["max_age"]) if "max_age" in data else None
        if not data and age is not None:
            seconds = age.max_age
        if seconds is not None and seconds > longest:
            longest, policy = seconds, wanted
    for key in ("parked", "dead"):
        text = draft.part("retention").get(key)
        kept = units.duration(text) if text is not None else getattr(Retention(), key)
        if kept < longest:
            message = (
                f"{units.duration_text(kept)} is shorter than the "
                f"{units.duration_text(longest)} for which retry policy {policy} tries; raise it"
            )
            draft.warning(("retention", key), "short-retention", message)


def _reserve(draft: Draft) -> None:
    """Below it ingest would close only when the outbox has no room of its own left."""
    text = draft.part("storage").get("min_free")
    if text is not None and units.size(text) < _LEAST_FREE:
        message = (
            f"{text} is less than the 32MiB that the outbox wants for itself on a full disk; "
            "raise it"
        )
        draft.warning(("storage", "min_free"), "small-reserve", message)


def _descriptors(draft: Draft) -> None:
    ingest = draft.part("listen", "ingest")
    needed = int(ingest.get("max_connections", IngestListener().max_connections))
    usual = schema.defaults(schema.schema()["properties"]["endpoint_defaults"])["concurrency"]
    for name, _ in draft.entries("endpoints"):
        needed += int(draft.endpoint(name).get("concurrency", usual))
    needed += _PAGES + _SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        message = (
            f"connections and concurrency may need {needed} open files, and the limit is {hard}; "
            "raise LimitNOFILE, or lower max_connections"
        )
        draft.warning(("listen", "ingest", "max_connections"), "few-descriptors", message)


def _proxies(draft: Draft) -> None:
    """A network of everybody: whoever connects could name any address as its own."""
    for index, text in enumerate(draft.part("listen", "ingest").get("trusted_proxies", [])):
        network = None if text is None else values.network(text)
        if network is not None and network.prefixlen == 0:
            message = f"{text} trusts everybody to name any address; name the proxies themselves"
            draft.warning(("listen", "ingest", "trusted_proxies", index), "trusts-all", message)
