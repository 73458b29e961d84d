"""Sources: checked and built."""

from collections.abc import Mapping
from typing import Any

from hookpost.config import event_types, greetings, jwks, proofs, values
from hookpost.config.diagnostics import Path, quoted
from hookpost.config.draft import Draft
from hookpost.config.expressions import ExpressionMistake, compile_expression
from hookpost.config.schema import Json, schema, walk
from hookpost.core import media_types, payload, units
from hookpost.core.attributes import PREFIX
from hookpost.core.envelope import Media, media
from hookpost.core.model import Format
from hookpost.core.payload_links import PREFIX as PAYLOADS
from hookpost.core.ratelimit import RateLimit
from hookpost.core.secrets import Secret
from hookpost.core.settings import (
    ApiKey,
    Auth,
    Basic,
    Extractor,
    IngestListener,
    Source,
    SuccessAnswer,
)

_ALWAYS_SENT = frozenset({"content-type", "user-agent", "traceparent"})
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


def check(draft: Draft) -> None:
    """Report what is wrong inside sources and between them."""
    paths: dict[str, str] = {}
    for name, data in draft.entries("sources"):
        route = data.get("path")
        if route is not None:
            if f"{route}/".startswith(PAYLOADS):
                message = f"{PAYLOADS} is where links to payloads lead; take another path"
                draft.error(("sources", name, "path"), "reserved-path", message)
            first = paths.setdefault(route, name)
            if first != name:
                message = f"{route} is the path of source {first} already; give each its own"
                draft.error(("sources", name, "path"), "duplicate-path", message)
        _check_raw(draft, name, data)
        _check_auth(draft, name, data)
        _check_forwarded(draft, name, data)
        _check_limits(draft, name, data)
        _check_answer(draft, name, data)
        jwks.check(draft, name, data)
        proofs.check(draft, name, data)
        greetings.check(draft, name, data)
        _check_cloudevents(draft, name, data)


def _check_raw(draft: Draft, name: str, data: Json) -> None:
    path: Path = ("sources", name)
    if draft.written((*path, "format")) and "format" not in data:
        return
    event_type = data.get("event_type", {})
    if "header" in event_type and "expression" in event_type:
        message = "give header or expression, not both"
        draft.error((*path, "event_type"), "one-of", message)
    if data.get("format") == "raw":
        if "event_type" not in data and not draft.written((*path, "event_type")):
            message = "a raw source needs event_type: {header: …}, {value: …} or {expression: …}"
            draft.name_error(path, "missing-key", message)
        return
    for key in ("event_type", "event_id"):
        if key in data:
            event = "a CloudEvent" if data.get("format") == "cloudevents" else "an envelope"
            message = f"{event} carries its own {key.removeprefix('event_')}; say format: raw"
            draft.error((*path, key), "misplaced-key", f"{message}, or drop the key")


def _check_cloudevents(draft: Draft, name: str, data: Json) -> None:
    path: Path = ("sources", name)
    if data.get("format") == Format.CLOUDEVENTS:
        for index, header in enumerate(data.get("forward_headers", [])):
            if header is not None and header.lower().startswith(PREFIX):
                message = f"{header} is an attribute, which is kept anyway; leave it out"
                draft.error((*path, "forward_headers", index), "bad-header", message)
    elif "webhook_origins" in data and not (
        draft.written((*path, "format")) and "format" not in data
    ):
        message = "the handshake by OPTIONS is CloudEvents'; say format: cloudevents, or drop it"
        draft.error((*path, "webhook_origins"), "misplaced-key", message)


def _check_auth(draft: Draft, name: str, data: Json) -> None:
    auth = data.get("auth")
    if not isinstance(auth, dict):
        return
    path: Path = ("sources", name, "auth")
    api_key = auth.get("api_key")
    header = api_key.get("header", "") if isinstance(api_key, dict) else ""
    if payload.framing(header):
        message = f"{header} is HTTP's own and holds no secret; take another, as in X-Api-Key"
        draft.error((*path, "api_key", "header"), "bad-header", message)
    taken = [key for key in ("bearer", "basic", "jwt") if key in auth]
    if header.lower() == "authorization":
        taken.append("api_key")
    if len(taken) > 1:
        message = f"{' and '.join(taken)} both want the header Authorization; keep one of them"
        draft.error(path, "contradiction", message)


def _check_forwarded(draft: Draft, name: str, data: Json) -> None:
    auth = data.get("auth")
    api_key = auth.get("api_key") if isinstance(auth, dict) else None
    secret = api_key.get("header", "") if isinstance(api_key, dict) else ""
    seen: set[str] = set()
    for index, header in enumerate(data.get("forward_headers", [])):
        if header is None:
            continue
        lower, path = header.lower(), ("sources", name, "forward_headers", index)
        if lower in _CREDENTIALS or (secret and lower == secret.lower()):
            message = f"{header} is the publisher's credential; no endpoint may see it"
            draft.error(path, "bad-header", message)
        elif lower in _ALWAYS_SENT or payload.reserved(header):
            message = f"{header} is written or passed on by Hookpost itself; leave it out"
            draft.error(path, "bad-header", message)
        elif lower in seen:
            message = f"{header} stands here twice, in another case; drop one"
            draft.error(path, "duplicate-item", message)
        seen.add(lower)


def _check_limits(draft: Draft, name: str, data: Json) -> None:
    """Report limits that could never be reached, and types that could never be read."""
    whole = draft.part("listen", "ingest").get("max_body")
    most = IngestListener().max_body if whole is None else units.size(whole)
    unsound = whole is None and draft.written(("listen", "ingest", "max_body"))
    if "max_body" in data and not unsound and units.size(data["max_body"]) > most:
        message = (
            f"{data['max_body']} is more than the listener takes; raise listen.ingest.max_body"
        )
        draft.error(("sources", name, "max_body"), "contradiction", message)
    if data.get("format", "envelope") != "envelope" or draft.written(("sources", name, "preset")):
        return
    for index, kind in enumerate(data.get("content_types", [])):
        if kind is None or kind.endswith("/*") or media(kind) is not Media.OTHER:
            continue
        message = f"an envelope is JSON, and {kind} is not; drop it, or say format: raw"
        draft.error(("sources", name, "content_types", index), "contradiction", message)


def _check_answer(draft: Draft, name: str, data: Json) -> None:
    answer = data.get("answer", {})
    if answer.get("status") == 204 and "body" in answer:
        message = "an answer with status 204 has no body; drop it, or take 200"
        draft.error(("sources", name, "answer", "body"), "contradiction", message)


def compile_expressions(draft: Draft) -> None:
    """Report expressions that cannot be compiled, each at its character."""
    for path, part, text in walk(draft.data, schema()):
        if part.get("x-type") != "expression" or not isinstance(text, str):
            continue
        try:
            compile_expression(text)
        except ExpressionMistake as mistake:
            _report(draft, path, text, mistake)


def _report(draft: Draft, path: Path, text: str, mistake: ExpressionMistake) -> None:
    """The column of the character, where the expression stands in one line as it was read."""
    mark = draft.mark(path)
    lines = draft.tree.lines.get(mark.file, [])
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    start = mark.column - 1
    start += line[start : start + 1] in ("'", '"')
    if text and line[start:].startswith(text):
        mark = type(mark)(mark.file, mark.line, start + 1 + mistake.offset)
    message = f"{mistake} in {quoted(text)}"
    draft.report.error(mark, path, "bad-expression", message, mistake.suggestion)


# -- build -----------------------------------------------------------------------------------


def build(draft: Draft, limits: Mapping[str, RateLimit | None]) -> dict[str, Source]:
    """The sources of a draft without mistakes."""
    return {name: _source(draft, name, data, limits) for name, data in draft.entries("sources")}


def _source(draft: Draft, name: str, data: Json, limits: Mapping[str, RateLimit | None]) -> Source:
    optional: dict[str, Any] = {}
    dedup = data.get("dedup", {})
    if dedup == "none":
        optional["dedup_window"] = None
    elif "window" in dedup:
        optional["dedup_window"] = units.duration(dedup["window"])
    if isinstance(dedup, dict):
        keys = dedup.get("key", ())
        optional["dedup_key"] = tuple(compile_expression(text) for text in keys)
    if "format" in data:
        optional["format"] = Format(data["format"])
    if "allow_from" in data:
        optional["allow_from"] = values.peers(data["allow_from"])
    if "webhook_origins" in data:
        optional["webhook_origins"] = tuple(map(values.origin, data["webhook_origins"]))
    return Source(
        name=name,
        path=data["path"],
        auth=_auth(draft, name, data),
        event_type=_extractor(data.get("event_type")),
        event_id=_extractor(data.get("event_id")),
        event_types=event_types.build(draft, name, data),
        forward_headers=tuple(data.get("forward_headers", ())),
        rate_limit=limits[data.get("rate_limit", "none")],
        url=data.get("url"),
        answer=SuccessAnswer(**data.get("answer", {})),
        handshakes=greetings.build(data, _handshake_secrets(draft, data)),
        **optional,
        **_limits(data),
    )


def _limits(data: Json) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if "max_body" in data:
        limits["max_body"] = units.size(data["max_body"])
    if "content_types" in data:
        limits["content_types"] = tuple(map(media_types.pattern, data["content_types"]))
    return limits


def _handshake_secrets(draft: Draft, data: Json) -> tuple[Secret, ...]:
    names: list[str] = data.get("handshake_secrets") or data.get("secrets") or []
    return _secrets(draft, names)


def _auth(draft: Draft, name: str, source: Json) -> Auth:
    data: Any = source.get("auth", "none")
    if data == "none":
        return Auth()
    basic, api_key = data.get("basic"), data.get("api_key")
    return Auth(
        bearer=_secrets(draft, data["bearer"]) if "bearer" in data else None,
        basic=Basic(username=basic["username"], passwords=_secrets(draft, basic["passwords"]))
        if basic
        else None,
        api_key=ApiKey(header=api_key["header"], secrets=proofs.secrets_of(draft, source, api_key))
        if api_key
        else None,
        jwt=draft.jwts.get(name),
        proofs=proofs.build(draft, source),
    )


def _secrets(draft: Draft, names: list[str]) -> tuple[Secret, ...]:
    found = [draft.secrets[name] for name in names]
    return tuple(secret for secret in found if secret is not None)


def _extractor(data: Json | None) -> Extractor | None:
    if data is None:
        return None
    text = data.get("expression")
    return Extractor(
        header=data.get("header"),
        value=data.get("value"),
        expression=None if text is None else compile_expression(text),
        text=text,
    )
