"""What an endpoint asks of its callers (`auth`), TLS and proxy: checked and built."""

from typing import Any
from urllib.parse import urlsplit

from hookpost.config import policies
from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.config.schema import Json
from hookpost.core.addresses import EgressPolicy, judge, literal
from hookpost.core.credentials import (
    BasicAuth,
    BearerAuth,
    Credentials,
    KeyAuth,
    OAuth2,
)
from hookpost.core.secrets import Secret


def check(draft: Draft, name: str, policy: EgressPolicy | None) -> None:
    """Report a credential's header that is another's, and a token server that is never called."""
    home = draft.home(name, "auth")
    data = draft.endpoint(name).get("auth")
    if not isinstance(data, dict):
        return
    _check_header(draft, name, (*home,), data)
    oauth2 = data.get("oauth2")
    if isinstance(oauth2, dict) and "token_url" in oauth2 and policy is not None:
        _check_token_url(draft, (*home, "oauth2", "token_url"), oauth2["token_url"], policy)


def _check_header(draft: Draft, name: str, home: Path, data: Json) -> None:
    member = data.get("api_key")
    header = member.get("header", "") if isinstance(member, dict) else "Authorization"
    for own in draft.endpoint(name).get("headers", {}):
        if own.lower() == header.lower():
            message = f"{own} carries the credential of auth; leave it out"
            draft.name_error((*draft.home(name, "headers"), own), "bad-header", message)
    path: Path = (*home, "api_key", "header")
    if header.lower() in _OURS:
        draft.error(path, "bad-header", f"{header} is written by Hookpost itself; take another")
    signing = draft.endpoint(name).get("signing")
    scheme = signing.get("hmac") if isinstance(signing, dict) else None
    for part in ("signature", "timestamp", "id"):
        given: Any = scheme.get(part, {}).get("header", []) if isinstance(scheme, dict) else []
        for other in [given] if isinstance(given, str) else draft.listed(given):
            if other.lower() == header.lower():
                message = f"{other} carries the credential of auth; take another for signing.hmac"
                place = (*draft.home(name, "signing"), "hmac", part, "header")
                draft.error(place, "contradiction", message)


_OURS = frozenset({"content-type", "user-agent", "accept", "accept-encoding", "traceparent"})


def _check_token_url(draft: Draft, path: Path, url: str, policy: EgressPolicy) -> None:
    """The endpoint's policy judges it: a client's secret is not for anybody between."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and policy.require_https:
        message = f'the URL is plain http, which egress policy "{policy.name}" refuses; write https'
        draft.error(path, "plain-http", message)
    elif literal(host) is not None:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        reason = judge(host, port, policy)
        if reason is not None:
            message = f"{reason}; take or make a policy that allows it"
            draft.error(path, "denied-address", message)


# -- build -----------------------------------------------------------------------------------


def build(draft: Draft, data: Any) -> Credentials | None:
    """The credentials of an endpoint without mistakes; None: it asks for none."""
    if data == "none":
        return None
    if "basic" in data:
        basic = data["basic"]
        return BasicAuth(username=basic["username"], password=_secret(draft, basic["password"]))
    if "bearer" in data:
        return BearerAuth(token=_secret(draft, data["bearer"]))
    if "api_key" in data:
        member = data["api_key"]
        return KeyAuth(header=member["header"], secret=_secret(draft, member["secret"]))
    member = data["oauth2"]
    return OAuth2(
        token_url=member["token_url"],
        client_id=member["client_id"],
        client_secret=_secret(draft, member["client_secret"]),
        post=member.get("auth_method", "basic") == "post",
        **policies.given(member, "scope", "audience"),
    )


def _secret(draft: Draft, name: str) -> Secret:
    found = draft.secrets[name]
    assert found is not None  # noqa: S101 - the file has no mistakes
    return found
