"""A configuration as text again: what the files say together, or what is in force; no secrets."""

from collections.abc import Mapping
from typing import Any

import yaml

from hookpost.config.advice import credential_like
from hookpost.config.loading import Loaded
from hookpost.config.scalars import ScalarMistake, resolve
from hookpost.config.schema import Json, property_schema, schema
from hookpost.core.settings import Config

HIDDEN = "***"


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would read as anything but text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    try:
        plain = resolve(value) == value
    except ScalarMistake:
        plain = False
    style = None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def show(loaded: Loaded, *, effective: bool) -> str:
    """YAML: the merged files, or with `effective` every value in force, defaults included.

    URLs lose their query and headers that look like credentials their value. Raises ConfigError for
    a file with mistakes.
    """
    config = loaded.sound()
    values = {key: value for key, value in loaded.merged.items() if key != "include"}
    if effective:
        values = _effective(values, loaded, config)
    text: str = yaml.dump(
        _redacted(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


# -- defaults --------------------------------------------------------------------------------


def _effective(values: Json, loaded: Loaded, config: Config) -> Json:
    values = {key: value for key, value in values.items() if not key.startswith("x-")}
    shared = values.pop("endpoint_defaults", {})
    endpoints = values.get("endpoints", {})
    values["endpoints"] = {name: {**shared, **own} for name, own in endpoints.items()}
    built_in: Json = {
        "retry_policies": {"standard": {"max_age": "3d"}},
        "circuit_breakers": {"standard": {}},
    }
    for section, policies in built_in.items():
        values[section] = {**policies, **values.get(section, {})}
    filled: Json = _filled(values, schema())
    for key in ("include", "endpoint_defaults"):
        filled.pop(key, None)
    for policy in filled["retry_policies"].values():
        policy.pop("backoff" if "schedule" in policy else "jitter", None)
    for listener in filled["listen"].values():
        if not listener["address"].startswith("unix:"):
            listener.pop("mode", None)
    filled["listen"]["ingest"]["address"] = str(config.listen.ingest.address)
    filled["listen"]["ops"]["address"] = str(config.listen.ops.address)
    filled["listen"]["admin"]["address"] = str(config.listen.admin.address)
    _absolute(filled, config)
    filled["storage"]["sqlite"]["path"] = str(config.storage.path)
    for name, path in loaded.secret_files.items():
        filled["secrets"][name]["file"] = str(path)
    return filled


def _absolute(filled: Json, config: Config) -> None:
    """Where the files are that the configuration names."""
    tls = config.listen.ingest.tls
    for key in filled["listen"]["ingest"].get("tls", {}) if tls is not None else ():
        filled["listen"]["ingest"]["tls"][key] = str(getattr(tls, key))
    for name, source in config.sources.items():
        if source.auth.jwt is not None:
            filled["sources"][name]["auth"]["jwt"]["jwks_file"] = str(source.auth.jwt.jwks_file)
    for name, endpoint in config.endpoints.items():
        if endpoint.tls is not None:
            files = filled["endpoints"][name]["tls"]
            files |= {key: str(getattr(endpoint.tls, key)) for key in files if key != "min_version"}


def _filled(value: Any, part: Json) -> Any:
    """A copy in the schema's order, absent keys filled in with their stated defaults."""
    if isinstance(value, list):
        return list(value)
    if not isinstance(value, dict):
        return value
    known = part.get("properties")
    if known is None:
        inner = part.get("additionalProperties")
        return {
            key: _filled(item, property_schema(part, key) or {}) if inner else item
            for key, item in value.items()
        }
    filled = {}
    for key in known:
        inner = property_schema(part, key) or {}
        if key in value or "default" in inner:
            filled[key] = _filled(value.get(key, inner.get("default")), inner)
    return filled


# -- redaction -------------------------------------------------------------------------------


def _redacted(values: Mapping[str, Any]) -> Json:
    shown = dict(values)
    for section in ("endpoints", "endpoint_defaults"):
        if section not in shown:
            continue
        part = shown[section]
        shown[section] = (
            {name: _endpoint(data) for name, data in part.items()}
            if section == "endpoints"
            else _endpoint(part)
        )
    return shown


def _endpoint(data: Json) -> Json:
    shown = dict(data)
    url = shown.get("url")
    if isinstance(url, str) and "?" in url:
        shown["url"] = f"{url.split('?', 1)[0]}?{HIDDEN}"
    auth = shown.get("auth")
    if isinstance(auth, dict) and "?" in auth.get("oauth2", {}).get("token_url", ""):
        place = f"{auth['oauth2']['token_url'].split('?', 1)[0]}?{HIDDEN}"
        shown["auth"] = {"oauth2": {**auth["oauth2"], "token_url": place}}
    if "headers" in shown:
        shown["headers"] = {
            name: HIDDEN if credential_like(name) else value
            for name, value in shown["headers"].items()
        }
    return shown
