"""Presets: a provider's name stands for a piece of a source (presets.yaml)."""

import copy
from collections.abc import Mapping
from functools import cache
from importlib import resources

import yaml

from hookpost.config.draft import Draft
from hookpost.config.schema import Json

KEYED = ("hmac", "public_key", "twilio", "body_secret", "api_key")
"""Members of `auth` whose secrets may be the source's own."""


@cache
def rows() -> Mapping[str, Json]:
    """Every preset; shared, so not to be changed."""
    text = resources.files("hookpost.config").joinpath("presets.yaml").read_text("utf-8")
    found: Mapping[str, Json] = yaml.safe_load(text)
    return found


def apply(draft: Draft) -> None:
    """Lay each source's own keys over those of its preset, `auth` member by member."""
    for name, own in draft.entries("sources"):
        row = rows().get(own.get("preset", ""))
        if row is None:
            _check_absence(draft, name, own)
            continue
        _check(draft, name, own)
        merged: Json = {**own, **copy.deepcopy(dict(row)), **own, "format": "raw"}
        merged["auth"] = copy.deepcopy(dict(row["auth"]))
        if isinstance(own.get("auth"), dict):
            merged["auth"].update(own["auth"])
        for key in ("dedup", "answer"):
            if isinstance(own.get(key), dict) and isinstance(row.get(key), dict):
                merged[key] = {**row[key], **own[key]}
        draft.data["sources"][name] = merged


def _check_absence(draft: Draft, name: str, own: Json) -> None:
    path = ("sources", name)
    if "secrets" in own and not draft.written((*path, "preset")):
        message = "these are the secrets of a preset; write them into a member of auth"
        draft.error((*path, "secrets"), "misplaced-key", message)


def _check(draft: Draft, name: str, own: Json) -> None:
    path, preset = ("sources", name), own["preset"]
    if not draft.written((*path, "secrets")):
        message = f"preset: {preset} needs secrets: [NAME], what {preset} signs with"
        draft.name_error(path, "missing-key", message)
    if own.get("format", "raw") != "raw":
        message = f"requests of preset: {preset} are raw; drop the format"
        draft.error((*path, "format"), "contradiction", message)
    if own.get("auth") == "none":
        message = f"preset: {preset} verifies every request; drop auth: none"
        draft.error((*path, "auth"), "contradiction", message)
