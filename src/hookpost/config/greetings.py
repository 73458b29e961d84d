"""A source's handshakes: checked and built."""

from typing import Any

from hookpost.config.diagnostics import Path, quoted
from hookpost.config.draft import Draft
from hookpost.config.expressions import ExpressionMistake, compile_expression
from hookpost.config.schema import Json
from hookpost.core import template
from hookpost.core.handshake import Condition, Handshake, Verify
from hookpost.core.secrets import Secret


def check(draft: Draft, name: str, data: Json) -> None:
    """Report what is wrong inside a source's handshakes."""
    path: Path = ("sources", name, "handshake")
    found = [one for one in data.get("handshake", []) if isinstance(one, dict)]
    for index, one in enumerate(data.get("handshake", [])):
        if isinstance(one, dict):
            _check_one(draft, (*path, index), one, data)
    asked = any(_asks_for_secrets(one) for one in found)
    if "handshake_secrets" in data and not asked:
        message = "no handshake of this source is proved or answered with them; drop the key"
        draft.error(("sources", name, "handshake_secrets"), "misplaced-key", message)


def _asks_for_secrets(one: Json) -> bool:
    keyed = "{hmac_" in str(one.get("respond", {}))
    return one.get("verify") == "secret" or (one.get("verify") == "none" and keyed)


def _check_one(draft: Draft, path: Path, one: Json, data: Json) -> None:
    for text in one.get("when", {}).get("json", {}):
        try:
            compile_expression(text)
        except ExpressionMistake as wrong:
            inner = (*path, "when", "json", text)
            draft.name_error(inner, "bad-expression", f"{wrong} in {quoted(text)}")
    _check_proof(draft, path, one, data)
    _check_answer(draft, (*path, "respond"), one.get("respond", {}))


def _check_proof(draft: Draft, path: Path, one: Json, data: Json) -> None:
    verify = one.get("verify", "auth")
    if verify != "auth" and one.get("when", {}).get("json"):
        message = "whether it is proved must be clear before the body is read; drop when.json"
        draft.error((*path, "verify"), "contradiction", message)
    if "secret" in one and verify != "secret":
        message = f"secret goes with verify: secret, not {verify}"
        draft.error((*path, "secret"), "misplaced-key", message)
    if verify == "secret" and not draft.written((*path, "secret")) and "secret" not in one:
        message = "verify: secret needs secret: NAME, the field of the query that holds it"
        draft.name_error(path, "missing-key", message)
    known = {"handshake_secrets"} if verify == "secret" else {"handshake_secrets", "secrets"}
    if _asks_for_secrets(one) and not known & data.keys():
        message = "a handshake is proved or answered with a secret; give handshake_secrets: [NAME]"
        draft.name_error(path[:2], "missing-key", message)


def _check_answer(draft: Draft, path: Path, respond: Json) -> None:
    body = [key for key in ("text", "json") if key in respond]
    if len(body) > 1:
        draft.error(path, "one-of", "give text or json, not both")
    if body and respond.get("status") == 204:
        message = "an answer with status 204 has no body; drop it, or take 200"
        draft.error((*path, "status"), "contradiction", message)
    for mistake in _texts(respond.get("json")):
        draft.error((*path, "json"), "bad-template", mistake)


def _texts(value: Any) -> list[str]:
    """What is wrong with the templates in a JSON value."""
    match value:
        case str():
            try:
                template.parse(value, compile_expression, keyed=True)
            except ValueError as mistake:
                return [str(mistake)]
        case dict():
            return [wrong for member in value.values() for wrong in _texts(member)]
        case list():
            return [wrong for member in value for wrong in _texts(member)]
    return []


def build(data: Json, secrets: tuple[Secret, ...]) -> tuple[Handshake, ...]:
    """The handshakes of a source without mistakes; `secrets` prove or answer them."""
    return tuple(_built(one, secrets) for one in data.get("handshake", ()))


def _built(one: Json, secrets: tuple[Secret, ...]) -> Handshake:
    when, respond = one["when"], one["respond"]
    text = respond.get("text")
    return Handshake(
        when=Condition(
            method=when.get("method", "POST"),
            query=tuple(when.get("query", {}).items()),
            headers=tuple(when.get("header", {}).items()),
            json=tuple(
                (compile_expression(path), value) for path, value in when.get("json", {}).items()
            ),
        ),
        verify=Verify(one.get("verify", "auth")),
        secret_field=one.get("secret"),
        secrets=secrets if _asks_for_secrets(one) else (),
        status=respond.get("status", 200),
        text=None if text is None else template.parse(text, compile_expression, keyed=True),
        json=_parsed(respond.get("json")),
    )


def _parsed(value: Any) -> Any:
    match value:
        case str():
            return template.parse(value, compile_expression, keyed=True)
        case dict():
            return {name: _parsed(member) for name, member in value.items()}
        case list():
            return [_parsed(member) for member in value]
    return value
