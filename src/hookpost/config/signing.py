"""How an endpoint's requests are signed: checked and built."""

from typing import Any

from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.config.expressions import compile_expression
from hookpost.config.keys import ed25519_key
from hookpost.config.proofs import check_form, scheme
from hookpost.config.schema import Json
from hookpost.core import template
from hookpost.core.scheme import Key
from hookpost.core.secrets import Secret
from hookpost.core.signing import Signing, standard_webhooks


def check(draft: Draft, name: str) -> None:
    """Report what is wrong inside an endpoint's `signing.hmac`, and headers that it writes."""
    home = draft.home(name, "signing")
    data = draft.endpoint(name).get("signing")
    member = data.get("hmac") if isinstance(data, dict) else None
    if not isinstance(member, dict):
        return
    path: Path = (*home, "hmac")
    check_form(draft, (*path, "signature"), member.get("signature", {}))
    _check_timestamp(draft, path, member)
    _check_template(draft, path, member)
    _check_headers(draft, name, member)


def _check_timestamp(draft: Draft, path: Path, data: Json) -> None:
    """One of two places, of which one is only in a header of pairs."""
    place = (*path, "timestamp")
    given = data.get("timestamp")
    if given is None:
        return
    written = [key for key in ("header", "kv") if draft.written((*place, key))]
    if len(written) != 1:
        message = f"give exactly one of header and kv; given: {', '.join(written) or 'none'}"
        draft.error(place, "one-of", message)
    if "kv" in given and data.get("signature", {}).get("format", "raw") != "kv":
        draft.error((*place, "kv"), "misplaced-key", "kv goes with signature.format: kv")


def _check_template(draft: Draft, path: Path, data: Json) -> None:
    place = (*path, "template")
    if draft.written(place) and "template" not in data:
        return
    parsed = template.parse(data.get("template", "{body}"), compile_expression)
    if not parsed.uses("body"):
        message = "the body is not in what is signed, so anybody could replace it; add {body}"
        draft.error(place, "contradiction", message)
    if "id" in data and not parsed.uses("id"):
        draft.error((*path, "id"), "misplaced-key", "the template has no {id}; drop the key")


def _check_headers(draft: Draft, name: str, data: Json) -> None:
    """A signing header is not one of the endpoint's own, and stands once."""
    taken: dict[str, Path] = {}
    for key in ("signature", "timestamp", "id"):
        given: Any = data.get(key, {}).get("header", [])
        path: Path = (*draft.home(name, "signing"), "hmac", key, "header")
        for header in [given] if isinstance(given, str) else draft.listed(given):
            if taken.setdefault(header.lower(), path) != path:
                message = f"{header} carries another part of the signature; keep one of them"
                draft.error(path, "contradiction", message)
    for header in draft.endpoint(name).get("headers", {}):
        if header.lower() in taken:
            message = f"{header} is a header of the signature (signing.hmac); leave it out"
            draft.name_error((*draft.home(name, "headers"), header), "bad-header", message)


# -- build -----------------------------------------------------------------------------------


def build(draft: Draft, data: Any) -> Signing | None:
    """The signing of an endpoint without mistakes; None: unsigned on purpose."""
    if data == "none":
        return None
    shared = standard_webhooks(*_secrets(draft, data.get("standard_webhooks", ())))
    member = data.get("hmac")
    return Signing(
        standard_webhooks=shared.standard_webhooks,
        ed25519=_private(_secrets(draft, data.get("ed25519", ()))),
        hmac=None if member is None else scheme(member, _secrets(draft, member["secrets"])),
    )


def _secrets(draft: Draft, names: Any) -> tuple[Secret, ...]:
    found = [draft.secrets[name] for name in names]
    return tuple(secret for secret in found if secret is not None)


def _private(secrets: tuple[Secret, ...]) -> tuple[Key, ...]:
    """What cannot be a key was reported, or not looked up: it never lives."""
    keys = []
    for secret in secrets:
        try:
            keys.append(ed25519_key(secret))
        except ValueError:
            continue
    return tuple(keys)
