"""Names: which are reserved, which lead nowhere, which nobody uses."""

from typing import Any

from hookpost.config import nodes, values
from hookpost.config.diagnostics import nearest, quoted
from hookpost.config.draft import Draft
from hookpost.config.files import NAMED_MAPS
from hookpost.config.schema import Json, property_schema, schema, walk
from hookpost.core.patterns import own_pattern

_ONE = {
    "secrets": "secret",
    "retry_policies": "retry policy",
    "rate_limits": "rate limit",
    "circuit_breakers": "circuit breaker",
    "egress_policies": "egress policy",
    "sources": "source",
    "endpoints": "endpoint",
    "subscriptions": "subscription",
}
_BUILT_IN = {"standard": ("retry_policies", "circuit_breakers"), "public": ("egress_policies",)}


def check(draft: Draft) -> None:
    """Report reserved names, dangling references and unused names."""
    _reserved(draft)
    used = _references(draft)
    _unused(draft, used)


def _reserved(draft: Draft) -> None:
    for section in NAMED_MAPS:
        part = property_schema(schema(), section) or {}
        for name in draft.names(section):
            if name == "hookpost" or name.startswith("sub-"):
                message = (
                    f'the name {quoted(name)} is reserved ("hookpost" and "sub-…"); take another'
                )
            elif name in part.get("x-reserved", ()):
                meaning = "is built in and stays as it is" if name == "public" else "means: off"
                message = f"the name {quoted(name)} {meaning}; take another"
            else:
                continue
            draft.name_error((section, name), "reserved-name", message)


def _references(draft: Draft) -> set[tuple[str, str]]:
    """The names in use; what leads nowhere is reported, and its likely meaning counts as used."""
    used: set[tuple[str, str]] = set()
    names = {section: dict.fromkeys(draft.names(section)) for section in NAMED_MAPS}
    for path, part, value in walk(draft.data, schema()):
        section = part.get("x-ref")
        if section is None or not isinstance(value, str):
            continue
        known = names[section]
        built_in = part.get("x-builtin", [])
        if value in known or value in built_in:
            used.add((section, value))
            continue
        meant = None if draft.report.full else nearest(value, [*known, *built_in])
        if meant is not None:
            used.add((section, meant))
        draft.error(path, "unknown-name", _dangling(section, value), meant)
    return used


def _dangling(section: str, value: str) -> str:
    kind = _ONE[section]
    if section == "secrets" and values.NAME.fullmatch(value) is None:
        return "the name of a secret belongs here, not its value; define it under secrets"
    return f"no {kind} is named {quoted(value)}; define it under {section}"


def _unused(draft: Draft, used: set[tuple[str, str]]) -> None:
    if draft.report.failed:
        # Beside a mistake a name may look unused because its use is what was mistaken.
        used = used | {(section, text) for section in NAMED_MAPS for text in _texts(draft.root)}
    if any(
        "sources" not in value and not _own_alone(value)
        for _, value in draft.entries("subscriptions")
    ):
        used = used | {("sources", name) for name in draft.names("sources")}
    for section in NAMED_MAPS:
        if section == "subscriptions":
            continue
        for name in draft.names(section):
            if (section, name) in used or section in _BUILT_IN.get(name, ()):
                continue
            if not isinstance(draft.part(section).get(name), dict):
                continue  # it is a mistake in itself
            message = f"no subscription takes this {_ONE[section]}; add one, or remove it"
            if section not in ("sources", "endpoints"):
                message = f"nothing uses this {_ONE[section]}; remove it"
            code = "unused-secret" if section == "secrets" else "unused-name"
            draft.name_warning((section, name), code, message)


def _own_alone(subscription: Json) -> bool:
    """Whether only the gateway's own events are wanted."""
    events = subscription.get("events", [None])
    return all(text is not None and own_pattern(text) for text in events)


def _texts(node: nodes.Node) -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = [node]
    while waiting:
        match waiting.pop():
            case nodes.Table(entries=entries):
                waiting += [entry.node for entry in entries.values()]
            case nodes.Items(items=items):
                waiting += items
            case nodes.Text(raw=raw):
                found.add(raw)
    return found
