"""Subscriptions: built, and what is probably not meant in them."""

from collections.abc import Iterator
from typing import Any

from hookpost.config import formulas
from hookpost.config.diagnostics import Path, nearest, quoted
from hookpost.config.draft import Draft
from hookpost.config.expressions import compile_formula, parse
from hookpost.config.schema import Json
from hookpost.core.patterns import RESERVED, own_pattern
from hookpost.core.settings import Subscription

_ALWAYS_KEPT = frozenset({"content-type", "traceparent"})


def build(draft: Draft) -> tuple[Subscription, ...]:
    """The subscriptions of a draft without mistakes, in file order."""
    return tuple(_subscription(name, data) for name, data in draft.entries("subscriptions"))


def _subscription(name: str, data: Json) -> Subscription:
    optional: dict[str, Any] = {
        key: compile_formula(data[key]) for key in ("filter", "transform") if key in data
    }
    if "events" in data:
        optional["events"] = tuple(data["events"])
    return Subscription(
        name=name,
        sources=tuple(data["sources"]) if "sources" in data else None,
        endpoints=tuple(data["endpoints"]),
        **optional,
    )


def advise(draft: Draft) -> None:
    """Warn of patterns and expressions that can hardly be meant."""
    for name, data in draft.entries("subscriptions"):
        for index, pattern in enumerate(data.get("events", [])):
            if pattern == "*":
                message = '"*" matches types of one segment only; write "**" for every type'
                path: Path = ("subscriptions", name, "events", index)
                draft.warning(path, "narrow-pattern", message)
        _own_events(draft, name, data)
        for key in ("filter", "transform"):
            parsed = parse(data[key]) if isinstance(data.get(key), str) else None
            if parsed is None:
                continue  # said where it is compiled
            path = ("subscriptions", name, key)
            if key == "filter" and formulas.never_boolean(parsed):
                message = "its value is never true or false, so no event matches; compare it"
                draft.warning(path, "never-true", f"{message} with something: a == 'b'")
            for message in (*strangers(parsed), *_unkept(draft, data, parsed)):
                draft.warning(path, "always-null", message)


def _own_events(draft: Draft, name: str, data: Json) -> None:
    """The gateway's own events are of its own source, and only patterns that name them match."""
    path, sources = ("subscriptions", name, "sources"), draft.listed(data.get("sources"))
    if not sources or (draft.written((*path[:2], "events")) and "events" not in data):
        return
    own = [text for text in data.get("events", ()) if text is not None and own_pattern(text)]
    if RESERVED in sources and not own:
        message = 'no pattern begins with "hookpost", so no event of it is meant; add "hookpost.**"'
        draft.warning(path, "never-matches", message)
    elif RESERVED not in sources and own:
        message = f"{quoted(own[0])} is for events of the source hookpost; add it to sources"
        draft.warning(path, "never-matches", message)


def strangers(parsed: Any) -> Iterator[str]:
    """Names at the top of a path that no document has."""
    for name in sorted((formulas.names(parsed) or frozenset()) - {*formulas.MEMBERS}):
        known = ", ".join(formulas.MEMBERS)
        near = nearest(name, formulas.MEMBERS)
        hint = f'did you mean "{near}"?' if near else f"text is written '{name}'"
        if name == "body":
            hint = 'of the body "data" is what counts here'
        elif name in ("true", "false", "null"):
            hint = f"the value is written `{name}`, in backticks"
        yield f"{quoted(name)} is always null: an event has {known}; {hint}"


def _unkept(draft: Draft, data: Json, parsed: Any) -> Iterator[str]:
    """Headers that no source of the subscription keeps."""
    wanted = {header for header in formulas.headers(parsed) if header not in _ALWAYS_KEPT}
    if not wanted:
        return
    kept: set[str] = set()
    for name in data.get("sources") or draft.names("sources"):
        source = draft.part("sources", name)
        if (
            not source
            or source.get("format") == "cloudevents"
            or None in source.get("forward_headers", ())
        ):
            return  # not known, or the publisher's to choose
        kept.update(header.lower() for header in source.get("forward_headers", ()))
    for header in sorted(wanted - kept):
        lower = header.lower()
        if lower != header and lower in kept | _ALWAYS_KEPT:
            yield f"the header {quoted(header)} is always null: write it in lower case"
        else:
            yield (
                f"the header {quoted(header)} is always null: no source of this subscription keeps "
                "it; add it to forward_headers there"
            )
