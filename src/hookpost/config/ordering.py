"""The order that an endpoint keeps: built, and what is probably not meant in it."""

from typing import Any

from hookpost.config.draft import Draft
from hookpost.config.expressions import compile_formula, parse
from hookpost.config.subscriptions import strangers
from hookpost.core.ordering import Ordering


def build(data: Any) -> Ordering | None:
    """The ordering of an endpoint without mistakes; None: it keeps none."""
    if data == "none":
        return None
    return Ordering() if data == "fifo" else Ordering(compile_formula(data["key"]))


def advise(draft: Draft, name: str) -> None:
    """Warn of a key that no event has."""
    data = draft.endpoint(name).get("ordering")
    text = data.get("key") if isinstance(data, dict) else None
    parsed = parse(text) if isinstance(text, str) else None
    if parsed is None:
        return  # there is none, or it is said where it is compiled
    for message in strangers(parsed):
        draft.warning((*draft.home(name, "ordering"), "key"), "always-null", message)
