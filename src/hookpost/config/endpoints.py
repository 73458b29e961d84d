"""Endpoints: checked and built."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hookpost.config import credentials, ordering, policies, signing, values
from hookpost.config.diagnostics import Path, quoted
from hookpost.config.draft import Draft
from hookpost.config.schema import Json
from hookpost.core.addresses import EgressPolicy, judge, literal
from hookpost.core.attributes import PREFIX
from hookpost.core.breaker import BreakerPolicy
from hookpost.core.model import OnRemove, Payload
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import RetryPolicy
from hookpost.core.settings import Endpoint

_HOME_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "test")
"""Ends of names that never lead to a public address (RFC 6761, 6762, 8375, and custom)."""


def check(draft: Draft) -> None:
    """Report what is wrong inside endpoints and between them."""
    _check_renames(draft)
    for name, data in draft.entries("endpoints"):
        _check_url(draft, name, data)
        _check_headers(draft, ("endpoints", name, "headers"), data)
        _check_cloudevents(draft, name)
        _check_thin(draft, name)
        _check_reject(draft, name)
        signing.check(draft, name)
        credentials.check(draft, name, _policy(draft, name))
    _check_headers(draft, ("endpoint_defaults", "headers"), draft.part("endpoint_defaults"))


def _check_renames(draft: Draft) -> None:
    names = draft.names("endpoints")
    claimed: dict[str, str] = {}
    for name, data in draft.entries("endpoints"):
        former = data.get("renamed_from")
        if former is None:
            continue
        path: Path = ("endpoints", name, "renamed_from")
        if former == name:
            draft.error(path, "contradiction", "an endpoint cannot be renamed from itself")
        elif former in names:
            message = f"{quoted(former)} is still an endpoint; remove it, or drop renamed_from"
            draft.error(path, "contradiction", message)
        elif claimed.setdefault(former, name) != name:
            message = f"endpoint {claimed[former]} takes over {quoted(former)} already; keep one"
            draft.error(path, "contradiction", message)


def _check_url(draft: Draft, name: str, data: Json) -> None:
    url = data.get("url")
    if isinstance(url, dict):
        secret = draft.secrets.get(url.get("secret", ""))
        url = secret.value.decode("utf-8", "replace") if secret is not None else None
        shown = "the URL of the secret"
    else:
        shown = "the URL"
    policy = _policy(draft, name)
    if not url or policy is None:
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return  # said where the secret is checked
    path: Path = ("endpoints", name, "url")
    if parts.scheme == "http" and policy.require_https:
        message = f'{shown} is plain http, which egress policy "{policy.name}" refuses'
        draft.error(path, "plain-http", f"{message}; write https, or take a policy that allows it")
        return
    reason = None
    if literal(host) is not None:
        reason = judge(host, port or (443 if parts.scheme == "https" else 80), policy)
    if reason is not None:
        secret_reason = f'{shown} leads to an address that policy "{policy.name}" denies'
        reason = reason if shown == "the URL" else secret_reason
        draft.error(path, "denied-address", f"{reason}; take or make a policy that allows it")
    elif parts.scheme == "http" and _perhaps_public(host):
        message = f"{shown} is plain http to what may be a public address: anybody between can read"
        draft.warning(path, "plain-http", f"{message}; write https")


def _policy(draft: Draft, name: str) -> EgressPolicy | None:
    """The endpoint's egress policy; None where it is unknown or unsound."""
    wanted = draft.endpoint(name).get("egress")
    if wanted is None:
        return None if draft.written(draft.home(name, "egress")) else EgressPolicy()
    if wanted == "public":
        return EgressPolicy()
    data = draft.part("egress_policies").get(wanted)
    if not isinstance(data, dict):
        return None
    written = draft.written(("egress_policies", wanted, "require_https"))
    if written and "require_https" not in data:
        return None
    if None in data.get("allow", []) or (
        draft.written(("egress_policies", wanted, "allow")) and "allow" not in data
    ):
        return None
    return policies.egress_policy(wanted, data)


def _perhaps_public(host: str) -> bool:
    address = literal(host)
    if address is not None:
        return judge(str(address), 443, EgressPolicy()) is None
    plain = host.rstrip(".").lower()
    if "." not in plain:
        return False
    return not any(plain == end or plain.endswith("." + end) for end in _HOME_NAMES)


def _check_cloudevents(draft: Draft, name: str) -> None:
    """A header that says how the body is read, or is an attribute, is not another's to write."""
    data = draft.endpoint(name)
    if not str(data.get("payload", "")).startswith("cloudevents"):
        return
    home = draft.home(name, "headers")
    for header in data.get("headers", {}):
        if header.lower() == "content-type" or header.lower().startswith(PREFIX):
            message = f"payload: {data['payload']} writes {header} itself; leave it out"
            draft.error((*home, header), "contradiction", message)


def _check_thin(draft: Draft, name: str) -> None:
    """A link to the data has to begin with an address of the listener."""
    if draft.endpoint(name).get("payload") != Payload.THIN:
        return
    path, public = draft.home(name, "payload"), ("listen", "ingest", "public_url")
    url = draft.part("listen", "ingest").get("public_url")
    if url is None:
        if not draft.written(public):
            message = "a dataUrl begins with listen.ingest.public_url; give it"
            draft.error(path, "missing-key", message)
    elif url.startswith("http:") and _perhaps_public(urlsplit(url).hostname or ""):
        message = "who sees a dataUrl can read the data, and public_url is plain http; write https"
        draft.warning(path, "plain-http", message)


def _check_headers(draft: Draft, path: Path, data: Json) -> None:
    seen: dict[str, str] = {}
    headers = data.get("headers", {})
    for header in headers if isinstance(headers, dict) else ():
        first = seen.setdefault(header.lower(), header)
        if first != header:
            message = f"this header stands here already as {first}; keep one"
            draft.name_error((*path, header), "duplicate-key", message)


def _check_reject(draft: Draft, name: str) -> None:
    data = draft.endpoint(name)
    if draft.written(draft.home(name, "success")) and "success" not in data:
        return
    retry = draft.part("retry_policies", data.get("retry", "standard"))
    both = policies.statuses(data.get("success", ["2xx"])) & policies.statuses(
        retry.get("reject_on", [])
    )
    if both:
        path = draft.home(name, "success")
        message = f"{min(both)} is a success here and rejected by the retry policy; keep one"
        if not draft.written(path):
            path = ("endpoints", name)
        draft.error(path, "contradiction", message)


# -- build -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What endpoints refer to, by name."""

    retry: Mapping[str, RetryPolicy]
    rate: Mapping[str, RateLimit | None]
    breaker: Mapping[str, BreakerPolicy | None]
    egress: Mapping[str, EgressPolicy]


def build(draft: Draft, named: Named) -> dict[str, Endpoint]:
    """The endpoints of a draft without mistakes."""
    return {name: _endpoint(draft, name, named) for name, _ in draft.entries("endpoints")}


def _endpoint(draft: Draft, name: str, named: Named) -> Endpoint:
    data = draft.endpoint(name)
    url = data["url"]
    secret = draft.secrets[url["secret"]] if isinstance(url, dict) else None
    optional: dict[str, Any] = policies.durations(data, "timeout", "keepalive")
    optional |= policies.given(data, "renamed_from", "paused")
    optional |= {key: int(data[key]) for key in ("concurrency", "max_pending") if key in data}
    if "success" in data:
        optional["success"] = policies.statuses(data["success"])
    if "on_remove" in data:
        optional["on_remove"] = OnRemove(data["on_remove"])
    if "payload" in data:
        optional["payload"] = Payload(data["payload"])
    return Endpoint(
        name=name,
        url=url if secret is None else secret.value.decode("utf-8", "replace"),
        url_secret=None if secret is None else secret.name,
        signing=signing.build(draft, data.get("signing", "none")),
        auth=credentials.build(draft, data.get("auth", "none")),
        tls=draft.client_tls.get((*draft.home(name, "tls"),)),
        proxy=values.proxy(data.get("proxy", "none")),
        headers=tuple(data.get("headers", {}).items()),
        retry=named.retry[data.get("retry", "standard")],
        rate_limit=named.rate[data.get("rate_limit", "none")],
        circuit_breaker=named.breaker[data.get("circuit_breaker", "standard")],
        egress=named.egress[data.get("egress", "public")],
        ordering=ordering.build(data.get("ordering", "none")),
        **optional,
    )
