"""Headers of any kind against credentials: one verdict, nothing raised, nobody wrong let in."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from tests.fuzz.effort import count, fuzzed

from hookpost.core.secrets import Secret
from hookpost.core.settings import ApiKey, Auth, Basic
from hookpost.core.verification import Verdict, challenge, verify

_NOW = 1_750_000_000.0
_VALUES = (b"tok", b"s3cret", b"w\xc3\xb6rd", b"\xff\xfe", b"a:b", b"")

_secrets = st.builds(
    lambda value, times: Secret(name="s", value=value, not_before=times[0], not_after=times[1]),
    st.sampled_from(_VALUES),
    st.sampled_from([(None, None), (None, None), (_NOW, _NOW), (_NOW + 1, None), (None, _NOW - 1)]),
)
_lists = st.lists(_secrets, max_size=3).map(tuple)
_auths = st.builds(
    Auth,
    bearer=st.none() | _lists,
    basic=st.none() | st.builds(Basic, username=st.sampled_from(["u", "ü", ""]), passwords=_lists),
    api_key=st.none()
    | st.builds(ApiKey, header=st.sampled_from(["X-Key", "Authorization"]), secrets=_lists),
)


def _text(raw: bytes) -> str:
    """A header's value as the parser hands it over."""
    return raw.decode("utf-8", "surrogateescape")


_raw = st.one_of(
    st.sampled_from(_VALUES),
    st.sampled_from(_VALUES).map(lambda value: b"Bearer " + value),
    st.sampled_from(_VALUES).map(lambda value: b"bEARER  " + value + b" "),
    st.sampled_from(_VALUES).map(lambda value: b"Basic " + base64.b64encode(b"u:" + value)),
    st.sampled_from(_VALUES).map(
        lambda value: b"Basic " + base64.b64encode("ü:".encode() + value).rstrip(b"=")
    ),
    st.binary(max_size=40).map(lambda raw: b"Basic " + base64.b64encode(raw)),
    st.binary(max_size=20).map(lambda raw: b"Basic " + raw),
    st.binary(max_size=30),
    st.just(b"Basic " + b"A" * 8000),
)
_headers = st.lists(
    st.tuples(st.sampled_from(["Authorization", "authorization", "x-key", "X-Key"]), _raw),
    max_size=3,
)


@fuzzed(300)
@given(_auths, _headers)
def test_a_request_passes_exactly_if_every_credential_is_right(
    auth: Auth, given_: list[tuple[str, bytes]]
) -> None:
    count("headers")
    headers = CIMultiDict((name, _text(raw)) for name, raw in given_)
    expected = [
        _judged(secrets, proof(given_))
        for secrets, proof in _asked(auth)
    ]  # fmt: skip
    verdict = verify(auth, headers, _NOW)
    if None in expected:
        assert verdict is not Verdict.PASSED
    assert (verdict is Verdict.PASSED) == all(expected)
    if verdict is Verdict.NO_KEY:
        assert None in expected
    assert challenge(auth).isascii()


def _judged(secrets: tuple[Secret, ...], proof: bytes | None) -> bool | None:
    """None: no key lives."""
    live = [
        one.value
        for one in secrets
        if one.value
        and (one.not_before is None or one.not_before <= _NOW)
        and (one.not_after is None or one.not_after >= _NOW)
    ]
    return proof in live if live else None


def _asked(auth: Auth) -> list[tuple[tuple[Secret, ...], Any]]:
    asked: list[tuple[tuple[Secret, ...], Any]] = []
    if auth.bearer is not None:
        asked.append((auth.bearer, lambda given_: _after(b"bearer", given_)))
    if auth.basic is not None:
        name = auth.basic.username.encode()
        asked.append((auth.basic.passwords, lambda given_: _password(name, given_)))
    if auth.api_key is not None:
        header = auth.api_key.header
        asked.append((auth.api_key.secrets, lambda given_: _one(header, given_)))
    return asked


def _one(name: str, given_: list[tuple[str, bytes]]) -> bytes | None:
    found = [raw for header, raw in given_ if header.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def _after(scheme: bytes, given_: list[tuple[str, bytes]]) -> bytes | None:
    raw = _one("Authorization", given_)
    if raw is None or raw[: len(scheme) + 1].lower() != scheme + b" ":
        return None
    return raw[len(scheme) + 1 :].strip(b" ")


def _password(name: bytes, given_: list[tuple[str, bytes]]) -> bytes | None:
    token = _after(b"basic", given_)
    try:
        plain = base64.b64decode(token or b"", validate=True)
    except ValueError:
        return None
    return plain[len(name) + 1 :] if plain.startswith(name + b":") and b":" not in name else None
