"""Other keys that a request may have been signed with: secrets read otherwise, other secrets."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace

from hookpost.core.scheme import BodySecret, Key, SignatureScheme
from hookpost.core.secrets import Secret
from hookpost.core.settings import Config, Source

_PREFIXES = (b"whsec_", b"whpk_", b"whsk_")


def immortal(secret: Secret) -> Secret:
    """The same secret, at any time."""
    return replace(secret, not_before=None, not_after=None) if secret.mortal else secret


def readings(value: bytes) -> Iterator[tuple[str, bytes]]:
    """What key a secret's text may be, and how it is read then."""
    for about, text in _texts(value):
        yield f"read as text{about}", text
        for prefix in _PREFIXES:
            if text.startswith(prefix):
                rest = text.removeprefix(prefix)
                behind = f" behind {prefix.decode()}{about}"
                yield f"read as text{behind}", rest
                yield from _decoded(rest, behind)
        yield from _decoded(text, about)
    for prefix in _PREFIXES:
        yield f"with {prefix.decode()} before it", prefix + value


def _texts(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", value
    bare = value.strip()
    if bare != value:
        yield " without the space around it", bare
    if len(bare) > 1 and bare[:1] == bare[-1:] and bare[:1] in (b'"', b"'"):
        yield " without the quotation marks around it", bare[1:-1]
    yield " with a newline at its end", value + b"\n"
    yield " with a space at its end", value + b" "


def _decoded(text: bytes, about: str) -> Iterator[tuple[str, bytes]]:
    padded = text + b"=" * (-len(text) % 4)
    forms: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("hex", lambda: bytes.fromhex(text.decode("ascii"))),
        ("base64", lambda: base64.b64decode(padded, b"+/", validate=True)),
        ("base64url", lambda: base64.b64decode(padded, b"-_", validate=True)),
    )
    for name, decode in forms:
        try:
            value = decode()
        except ValueError:  # it is not written so
            continue
        yield f"decoded from {name}{about}", value


def secrets_of(source: Source) -> dict[str, Secret]:
    """Every secret that a source knows, by name."""
    auth = source.auth
    found = [*(auth.bearer or ())]
    found += auth.basic.passwords if auth.basic is not None else ()
    found += auth.api_key.secrets if auth.api_key is not None else ()
    for proof in auth.proofs:
        if isinstance(proof, BodySecret):
            found += proof.secrets
        else:
            found += [key.secret for key in proof.keys]
    for handshake in source.handshakes:
        found += handshake.secrets
    return {secret.name: secret for secret in found}


def foreign(config: Config, source: Source) -> Iterator[Secret]:
    """The secrets of the configuration that the source does not know."""
    own = secrets_of(source)
    for name, secret in config.secrets.items():
        if name not in own and secret.value:
            yield secret


def foreign_public(config: Config, source: Source, scheme: SignatureScheme) -> Iterator[Key]:
    """The public keys of the same kind that other sources have."""
    for other in config.sources.values():
        for proof in other.auth.proofs:
            if other is source or not isinstance(proof, SignatureScheme):
                continue
            if proof.algorithm == scheme.algorithm:
                yield from (key for key in proof.keys if key.check is not None)


def whose(config: Config, name: str) -> str:
    """Who uses a secret, as the end of a sentence."""
    users = [other.name for other in config.sources.values() if name in secrets_of(other)]
    if not users:
        return f'the secret "{name}", which no source uses'
    named = " and ".join(f'"{user}"' for user in users)
    return f'the secret "{name}" of source {named}'
