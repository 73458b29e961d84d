"""`auth` members that need the body, and handshakes: checked and built."""

from collections.abc import Sequence
from typing import Any

from hookpost.config import presets
from hookpost.config.diagnostics import Path, quoted
from hookpost.config.draft import Draft
from hookpost.config.expressions import ExpressionMistake, compile_expression
from hookpost.config.keys import key_of
from hookpost.config.schema import Json
from hookpost.core import template, units
from hookpost.core.expression import Expression
from hookpost.core.scheme import (
    BodySecret,
    Encoding,
    Form,
    Key,
    Proof,
    SignaturePlace,
    SignatureScheme,
    TimestampPlace,
    TwilioScheme,
)
from hookpost.core.secrets import Secret

SCHEMES = ("hmac", "public_key")


def check(draft: Draft, name: str, data: Json) -> None:
    """Report what is wrong inside a source's proofs."""
    auth = data.get("auth")
    auth = auth if isinstance(auth, dict) else {}
    for member in presets.KEYED:
        if member in auth:
            _check_secrets(draft, name, data, member)
    for member in SCHEMES:
        if isinstance(auth.get(member), dict):
            _check_scheme(draft, ("sources", name, "auth", member), auth[member])
    _check_url(draft, name, data, auth)


def _check_secrets(draft: Draft, name: str, data: Json, member: str) -> None:
    path: Path = ("sources", name, "auth", member)
    own = data["auth"][member]
    if not isinstance(own, dict) or "secrets" in own or draft.written((*path, "secrets")):
        return
    if "preset" not in data or member not in presets.rows()[data["preset"]]["auth"]:
        draft.name_error(path, "missing-key", 'the key "secrets" is missing')


def _check_scheme(draft: Draft, path: Path, data: Json) -> None:
    signature, timestamp = data.get("signature", {}), data.get("timestamp")
    check_form(draft, (*path, "signature"), signature)
    one = [key for key in ("header", "json") if key in signature]
    if len(one) != 1 and not _spoilt(draft, (*path, "signature"), ("header", "json")):
        draft.error((*path, "signature"), "one-of", _one_of("header and json", one))
    if timestamp is not None:
        _check_timestamp(draft, path, signature, timestamp)
    text = data.get("template", "{body}")
    if draft.written((*path, "template")) and "template" not in data:
        return
    try:
        parsed = template.parse(text, compile_expression)
    except ValueError:
        return  # reported where it stands
    _check_template(draft, path, data, parsed)


def check_form(draft: Draft, path: Path, data: Json) -> None:
    form = data.get("format", "raw")
    if form == "kv" and "keys" not in data and not draft.written((*path, "keys")):
        draft.name_error(path, "missing-key", "format: kv needs keys: [v1], those of signatures")
    for key, forms in (
        ("separator", ("list", "kv")),
        ("header_prefix", ("list", "kv")),
        ("pair_separator", ("kv",)),
        ("keys", ("kv",)),
    ):
        if key in data and form not in forms:
            message = f"{key} goes with format: {' or '.join(forms)}, not {form}"
            draft.error((*path, key), "misplaced-key", message)
    parts = data.get("separator", ","), data.get("pair_separator", "=")
    if form == "kv" and parts[0] == parts[1]:
        message = f"members and their keys are both divided by {quoted(parts[0])}; give two texts"
        draft.error(path, "contradiction", message)


def _check_timestamp(draft: Draft, path: Path, signature: Json, data: Json) -> None:
    inner = (*path, "timestamp")
    one = [key for key in ("header", "kv", "json") if key in data]
    if len(one) != 1 and not _spoilt(draft, inner, ("header", "kv", "json")):
        draft.error(inner, "one-of", _one_of("header, kv and json", one))
    if "text" in data and "json" not in data:
        draft.error((*inner, "text"), "misplaced-key", "text says how json is written; drop it")
    if "kv" in data and signature.get("format") != "kv":
        draft.error((*inner, "kv"), "misplaced-key", "kv goes with signature.format: kv")


def _check_template(draft: Draft, path: Path, data: Json, parsed: template.Template) -> None:
    place = (*path, "template")
    for token, key in (("timestamp", "timestamp"), ("id", "id")):
        if parsed.uses(token) and not draft.written((*path, key)) and key not in data:
            draft.error(place, "missing-key", f"{{{token}}} needs {key}: {{header: NAME}}")
    if "id" in data and not parsed.uses("id"):
        draft.error((*path, "id"), "misplaced-key", "the template has no {id}; drop the key")
    covers = data.get("covers_body", True)
    if covers and not parsed.uses("body"):
        message = "the body is not in what is signed; add {body}, or say covers_body: false"
        draft.error(place, "contradiction", message)
    if not covers and parsed.uses("body"):
        message = "the template has {body}; drop covers_body"
        draft.error((*path, "covers_body"), "contradiction", message)


def _check_url(draft: Draft, name: str, data: Json, auth: Json) -> None:
    path: Path = ("sources", name)
    signed = "twilio" in auth
    for member in SCHEMES:
        text = (
            auth.get(member, {}).get("template", "") if isinstance(auth.get(member), dict) else ""
        )
        signed = signed or (isinstance(text, str) and "{url}" in text)
    public = draft.part("listen", "ingest").get("public_url")
    if signed and "url" not in data and public is None and not draft.written((*path, "url")):
        message = (
            "the address that was called is signed: give url, as the publisher has it, or"
            " listen.ingest.public_url"
        )
        draft.name_error(path, "missing-key", message)
    if not signed and "url" in data:
        message = "nothing that is signed holds the address; drop the key"
        draft.error((*path, "url"), "misplaced-key", message)


def _one_of(keys: str, given: Sequence[str]) -> str:
    return f"give exactly one of {keys}; given: {', '.join(given) or 'none'}"


def _spoilt(draft: Draft, path: Path, keys: tuple[str, ...]) -> bool:
    """Whether one of the keys is there, but was refused already."""
    return any(draft.written((*path, key)) and key not in _at(draft, path) for key in keys)


def _at(draft: Draft, path: Path) -> Json:
    found: Any = draft.data
    for step in path:
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


# -- build -----------------------------------------------------------------------------------


def build(draft: Draft, data: Json) -> tuple[Proof, ...]:
    """The proofs of a source without mistakes."""
    auth = data.get("auth", "none")
    if not isinstance(auth, dict):
        return ()
    found: list[Proof] = [
        scheme(auth[member], secrets_of(draft, data, auth[member]))
        for member in SCHEMES
        if member in auth
    ]
    if "twilio" in auth:
        secrets = secrets_of(draft, data, auth["twilio"])
        found.append(TwilioScheme(keys=_keys(auth["twilio"], secrets)))
    if "body_secret" in auth:
        member = auth["body_secret"]
        path = compile_expression(member["json"])
        found.append(BodySecret(json=path, secrets=secrets_of(draft, data, member)))
    return tuple(found)


def keyed_by(data: Json, path: Path) -> list[Json] | None:
    """The members of a source's `auth` that make keys of the secret at `path`.

    None: it is compared as text. `path` is that of a name in a list of secrets.
    """
    auth = data.get("auth")
    auth = auth if isinstance(auth, dict) else {}
    if path[2:3] == ("secrets",):
        mine = [member for key, member in auth.items() if "secrets" not in member]
        made = [member for member in mine if "signature" in member]
        return made if made or "twilio" in auth else None
    if path[2:3] == ("auth",) and path[3] in (*SCHEMES, "twilio"):
        member = auth.get(str(path[3]), {})
        return [member] if "signature" in member else []
    return None


def secrets_of(draft: Draft, data: Json, member: Json) -> tuple[Secret, ...]:
    """The secrets of a member of `auth`: its own, or those of the source."""
    names: list[str] = member.get("secrets") or data.get("secrets") or []
    found = [draft.secrets[name] for name in names]
    return tuple(secret for secret in found if secret is not None)


def _keys(member: Json, secrets: tuple[Secret, ...]) -> tuple[Key, ...]:
    """What cannot be a key was reported, or not looked up: it never lives."""
    keys = []
    for secret in secrets:
        try:
            keys.append(key_of(member, secret))
        except ValueError:
            continue
    return tuple(keys)


def scheme(data: Json, secrets: tuple[Secret, ...]) -> SignatureScheme:
    place, timestamp = data["signature"], data.get("timestamp")
    return SignatureScheme(
        algorithm=data.get("algorithm", "sha256"),
        keys=_keys(data, secrets),
        signature=SignaturePlace(
            headers=headers(place.get("header")),
            json=_path(place.get("json")),
            form=Form(place.get("format", "raw")),
            encoding=Encoding(place.get("encoding", "hex")),
            keys=tuple(place.get("keys", ())),
            **{
                key: place[key]
                for key in ("header_prefix", "prefix", "separator", "pair_separator")
                if key in place
            },
        ),
        template=template.parse(data.get("template", "{body}"), compile_expression),
        id_headers=headers(data.get("id", {}).get("header")),
        timestamp=None if timestamp is None else _timestamp(timestamp),
    )


def _timestamp(data: Json) -> TimestampPlace:
    given = {"tolerance": units.duration(data["tolerance"])} if "tolerance" in data else {}
    return TimestampPlace(
        headers=headers(data.get("header")),
        kv=data.get("kv"),
        json=_path(data.get("json")),
        text=data.get("text", False),
        milliseconds=data.get("unit") == "ms",
        **given,
    )


def headers(value: str | list[str] | None) -> tuple[str, ...]:
    """One header's name, or several, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _path(text: str | None) -> Expression | None:
    if text is None:
        return None
    try:
        return compile_expression(text)
    except ExpressionMistake as mistake:  # pragma: no cover - the file was checked
        raise ValueError(str(mistake)) from mistake
