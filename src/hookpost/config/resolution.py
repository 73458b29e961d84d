"""Secrets → values, and whether each value is fit for what it is used for."""

import re
from pathlib import Path as FilePath

from hookpost.config import nodes, values
from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.config.keys import ed25519_key, key_of
from hookpost.config.proofs import keyed_by
from hookpost.config.schema import Json, schema, walk
from hookpost.config.secrets import SecretMistake, resolve
from hookpost.core.addresses import url_mistake
from hookpost.core.secrets import Secret
from hookpost.core.signing import signing_key

_ORIGINS = ("env", "file", "credential")
_KNOWN = (*_ORIGINS, "not_before", "not_after")
_MASKED = 6  # shorter texts are words of the messages themselves


def check_origins(draft: Draft) -> None:
    """Report secrets without exactly one origin, or with no time in which they live."""
    for name, data in draft.entries("secrets"):
        path: Path = ("secrets", name)
        given = [key for key in _ORIGINS if draft.written((*path, key))]
        strange = set(nodes.keys(draft.root, path)) - set(_KNOWN)
        if len(given) != 1 and not (strange and not given):
            shown = ", ".join(given) or "none"
            message = f"give exactly one of env, file and credential; given: {shown}"
            draft.name_error(path, "one-of", message)
        start, end = data.get("not_before"), data.get("not_after")
        if start and end and values.instant(start) >= values.instant(end):
            message = f"it ends before it begins ({start}); the secret would never live"
            draft.error((*path, "not_after"), "contradiction", message)
            del data["not_before"], data["not_after"]
    _check_times(draft)


def _check_times(draft: Draft) -> None:
    """Report times of secrets that hold a URL: there is no other URL to send to meanwhile."""
    for name, data in draft.entries("endpoints"):
        url = data.get("url")
        secret = url.get("secret") if isinstance(url, dict) else None
        if secret is None:
            continue
        for key in draft.part("secrets", secret).keys() & {"not_before", "not_after"}:
            message = f"the URL of endpoint {name} is used at any time; drop {key}"
            draft.error(("secrets", secret, key), "misplaced-key", message)


def resolve_all(draft: Draft) -> None:
    """Fill `draft.secrets`; missing, empty and unreadable ones are errors."""
    for name in draft.names("secrets"):
        draft.secrets[name] = None
    for name, data in draft.entries("secrets"):
        origins = [key for key in _ORIGINS if key in data]
        if len(origins) != 1:
            continue
        path: Path = ("secrets", name, origins[0])
        try:
            found = resolve(data, draft.tree.directory(draft.mark(path)), draft.environ)
        except SecretMistake as mistake:
            draft.error(path, mistake.code, str(mistake))
            continue
        if found.exposed is not None:
            message = f"every user of this machine may read {found.exposed}; chmod 600 it"
            draft.warning(path, "exposed-secret", message)
        draft.secrets[name] = _built(name, data, found.value)
        if len(found.value) >= _MASKED:
            draft.report.masked.add(found.value.decode("utf-8", "replace"))
    _check_uses(draft)


def unresolved(draft: Draft) -> None:
    """Fill `draft.secrets` with values that are not looked up: `--secrets skip`."""
    for name, data in draft.entries("secrets"):
        draft.secrets[name] = _built(name, data, b"")


def secret_files(draft: Draft) -> dict[str, FilePath]:
    """The absolute paths of secrets that stand in files."""
    return {
        name: draft.tree.directory(draft.mark(("secrets", name, "file"))) / data["file"]
        for name, data in draft.entries("secrets")
        if "file" in data
    }


def _built(name: str, data: dict[str, str], value: bytes) -> Secret:
    return Secret(
        name=name,
        value=value,
        not_before=values.instant(data["not_before"]) if "not_before" in data else None,
        not_after=values.instant(data["not_after"]) if "not_after" in data else None,
    )


def _check_uses(draft: Draft) -> None:
    for path, part, value in walk(draft.data, schema()):
        if part.get("x-ref") != "secrets" or not isinstance(value, str):
            continue
        secret = draft.secrets.get(value)
        if secret is None:
            continue
        mistake = _mistake(draft, path, secret)
        if mistake is not None:
            code, reason = mistake
            draft.error(path, code, f'the secret "{value}" {reason}')
        elif secret.value != secret.value.strip():
            message = f'the secret "{value}" begins or ends with white space; is that a part of it?'
            draft.warning(path, "odd-secret", message)


def _mistake(draft: Draft, path: Path, secret: Secret) -> tuple[str, str] | None:
    if path[:1] == ("sources",):
        members = keyed_by(draft.part("sources", str(path[1])), path)
        if members is not None:
            return _no_key(members, secret)
    if path[_inside(path) :][:1] == ("signing",):
        try:
            _signing_key(draft, path, secret)
        except ValueError as mistake:
            return "bad-signing-key", f"is no signing key: {mistake}"
        return None
    if path[_inside(path) :][:1] == ("auth",) and path[0] != "sources":
        return _no_credential(path[-2:], secret.value)
    if path[_inside(path) :][:1] == ("url",):
        # The reason would show a part of it.
        text = secret.value.decode("utf-8", "surrogateescape")
        if url_mistake(text) is not None:
            return "bad-url", "holds no URL that may be used; write https://host/path into it"
        return None
    return _unsendable(secret.value)


def _inside(path: Path) -> int:
    """Where the keys of a named thing, or of `endpoint_defaults`, begin."""
    return 1 if path[0] == "endpoint_defaults" else 2


def _signing_key(draft: Draft, path: Path, secret: Secret) -> None:
    """ValueError: why a secret of an endpoint's `signing` does not sign."""
    if "standard_webhooks" in path:
        signing_key(secret.value)
    elif "ed25519" in path:
        ed25519_key(secret)
    else:
        key_of(draft.part(*map(str, path[:-2])), secret)


def _no_key(members: list[Json], secret: Secret) -> tuple[str, str] | None:
    """Why a secret is no key for one of the members of `auth` that verify with it."""
    for member in members:
        try:
            key_of(member, secret)
        except ValueError as mistake:
            return "bad-key", f"does not verify: {mistake}"
    return None


def _no_credential(key: Path, value: bytes) -> tuple[str, str] | None:
    """Why a secret is no credential of an endpoint; a password is encoded, and may be any line."""
    if key[-1] == "bearer" and re.fullmatch(rb"[!-~]+", value) is None:
        return "unusable-secret", "is no token: a bearer has printable ASCII without spaces"
    if key == ("api_key", "secret") and not value.isascii():
        return "unusable-secret", "holds more than ASCII, which no header can"
    return _unsendable(value)


def _unsendable(value: bytes) -> tuple[str, str] | None:
    if any(byte < 32 or byte == 127 for byte in value):
        return "unusable-secret", "holds a control character or a second line; no header can"
    if value != value.strip():
        return "unusable-secret", "begins or ends with a space, which no header can; remove it"
    return None
