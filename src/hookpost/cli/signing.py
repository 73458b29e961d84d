"""What `hookpost send` adds to a request so that its source takes it for its publisher's."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from hookpost.cli import exits
from hookpost.cli.client import Failure
from hookpost.cli.sources import content
from hookpost.core.publishing import Unsignable, added_query, signed_headers
from hookpost.core.received import HeaderList, Received, called
from hookpost.core.scheme import Sign, SignatureScheme, TwilioScheme
from hookpost.core.secrets import Secret
from hookpost.core.settings import Source
from hookpost.core.signature import Unproven

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request to a source, before it is signed; `query` has no question mark."""

    source: Source
    url: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def usual_type(source: Source) -> str:
    """The Content-Type that its publisher would send."""
    forms = any(isinstance(proof, TwilioScheme) for proof in source.auth.proofs)
    return FORM if forms else JSON


def signs_id(source: Source) -> bool:
    """Whether the signature has an id of its own, which is the event's."""
    return any(isinstance(proof, SignatureScheme) and proof.id_headers for proof in _proofs(source))


def proved(
    draft: Draft, wall: float, event_id: str, pem: bytes | None
) -> tuple[dict[str, str], str]:
    """All headers of the request, and its query, with the first live secret of each kind.

    `pem` is a private key. Failure (64) where only the publisher can make it, 69 without a live
    secret.
    """
    source = draft.source
    sign = None if pem is None else _signer(source, pem)
    headers = {**draft.headers, **credentials(source, wall)}
    added = added_query(source.auth.proofs, _received(draft, draft.query, headers))
    query = "&".join(part for part in (draft.query, added) if part)
    received = _received(draft, query, headers)
    for proof in source.auth.proofs:
        try:
            headers.update(signed_headers(proof, received, wall, event_id, sign))
        except Unsignable as mistake:
            raise Failure(f'source "{source.name}": {mistake}', exits.USAGE) from None
        except Unproven as mistake:
            raise Failure(f'source "{source.name}": {mistake}', exits.UNAVAILABLE) from None
    return headers, query


def _received(draft: Draft, query: str, headers: Mapping[str, str]) -> Received:
    return Received(
        method="POST",
        url=called(draft.url, query),
        query=query,
        headers=HeaderList(headers.items()),
        body=draft.body,
    )


def _proofs(source: Source) -> list[SignatureScheme]:
    return [proof for proof in source.auth.proofs if isinstance(proof, SignatureScheme)]


def _signer(source: Source, pem: bytes) -> Sign:
    from hookpost.config.keys import signer

    public = [one for one in _proofs(source) if any(key.check is not None for key in one.keys)]
    if not public:
        raise Failure(
            f'source "{source.name}" verifies by a shared secret, which is in the configuration: '
            "leave --key out",
            exits.USAGE,
        )
    try:
        return signer(pem, public[0].algorithm)
    except ValueError as mistake:
        raise Failure(f"--key: {mistake}", exits.USAGE) from None


def token(source: Source, file: str | None) -> dict[str, str]:
    """The header with the token of a file; Failure (64) where there should be one, or not."""
    if source.auth.jwt is None:
        message = f'source "{source.name}" takes no tokens of an issuer: leave --token out'
        raise Failure(message, exits.USAGE)
    if file is None:
        message = f'source "{source.name}" takes tokens that its issuer makes: give --token FILE'
        raise Failure(message, exits.USAGE)
    given = content(file, "--token").strip()
    return {"Authorization": f"Bearer {given.decode('utf-8', 'surrogateescape')}"}


def credentials(source: Source, wall: float) -> dict[str, str]:
    """The headers that say who is speaking, with the first live secret of each kind."""
    auth = source.auth
    headers: dict[str, str] = {}
    if auth.api_key is not None:
        headers[auth.api_key.header] = _live(source, auth.api_key.secrets, wall)
    if auth.basic is not None:
        pair = f"{auth.basic.username}:{_live(source, auth.basic.passwords, wall)}"
        token = base64.b64encode(pair.encode("utf-8", "surrogateescape")).decode("ascii")
        headers["Authorization"] = f"Basic {token}"
    if auth.bearer is not None:
        headers["Authorization"] = f"Bearer {_live(source, auth.bearer, wall)}"
    return headers


def _live(source: Source, secrets: tuple[Secret, ...], wall: float) -> str:
    for secret in secrets:
        if secret.live(wall):
            return secret.value.decode("utf-8", "surrogateescape")
    names = ", ".join(secret.name for secret in secrets)
    raise Failure(f'source "{source.name}" has no live secret: {names}', exits.UNAVAILABLE)
