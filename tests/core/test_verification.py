"""Who is speaking: every way to fail is one refusal, and none raises."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hookpost.core.secrets import Secret
from hookpost.core.settings import ApiKey, Auth, Basic
from hookpost.core.verification import Verdict, challenge, verify

NOW = 1_750_000_000.0


def secret(value: str | bytes, **fields: Any) -> Secret:
    raw = value.encode() if isinstance(value, str) else value
    return Secret(name="s", value=raw, **fields)


def headers(*pairs: tuple[str, str]) -> "CIMultiDict[str]":
    return CIMultiDict(pairs)


def basic(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return "Basic " + base64.b64encode(raw).decode()


BEARER = Auth(bearer=(secret("old-token"), secret("new-token")))
BASIC = Auth(basic=Basic(username="légacy", passwords=(secret("pa:ss"), secret("wörd"))))
KEY = Auth(api_key=ApiKey(header="X-Api-Key", secrets=(secret("k1"), secret("k2"))))


@pytest.mark.parametrize(
    ("auth", "given_headers"),
    [
        (Auth(), headers()),
        (BEARER, headers(("Authorization", "Bearer old-token"))),
        (BEARER, headers(("authorization", "bEARER   new-token"))),
        (BASIC, headers(("Authorization", basic("légacy:pa:ss")))),
        (BASIC, headers(("Authorization", basic("légacy:wörd").replace("Basic", "BASIC")))),
        (KEY, headers(("x-api-key", "k2"))),
    ],
)
def test_good_credentials_pass(auth: Auth, given_headers: "CIMultiDict[str]") -> None:
    assert verify(auth, given_headers, NOW) is Verdict.PASSED


@pytest.mark.parametrize(
    ("auth", "given_headers"),
    [
        (BEARER, headers()),
        (BEARER, headers(("Authorization", ""))),
        (BEARER, headers(("Authorization", "Bearer"))),
        (BEARER, headers(("Authorization", "Bearer "))),
        (BEARER, headers(("Authorization", "old-token"))),
        (BEARER, headers(("Authorization", "Bearerold-token"))),
        (BEARER, headers(("Authorization", "Basic old-token"))),
        (BEARER, headers(("Authorization", "Bearer old-token2"))),
        (BEARER, headers(("Authorization", "Bearer old-token, Bearer new-token"))),
        (BEARER, headers(("Authorization", "Bearer öld-tökén"))),
        (BEARER, headers(("Authorization", "Bearer \udcff\udcfe"))),
        (BEARER, headers(("Authorization", "Bearer old-token"), ("Authorization", "Bearer x"))),
        (
            BEARER,
            headers(("Authorization", "Bearer old-token"), ("Authorization", "Bearer old-token")),
        ),
        (BASIC, headers(("Authorization", basic("légacy:")))),
        (BASIC, headers(("Authorization", basic("légacy")))),
        (BASIC, headers(("Authorization", basic("other:pa:ss")))),
        (BASIC, headers(("Authorization", basic("légacy:pa")))),
        (BASIC, headers(("Authorization", basic(b"\xff\xfe:pa:ss")))),
        (BASIC, headers(("Authorization", "Basic !!!"))),
        (BASIC, headers(("Authorization", "Basic bMOpZ2FjeTpwYTpzcw"))),
        (BASIC, headers(("Authorization", "Basic \udcff"))),
        (KEY, headers(("X-Api-Key", ""))),
        (KEY, headers(("X-Api-Key", "k1"), ("x-api-key", "k1"))),
        (KEY, headers(("Authorization", "Bearer k1"))),
    ],
)
def test_bad_credentials_are_one_refusal(auth: Auth, given_headers: "CIMultiDict[str]") -> None:
    assert verify(auth, given_headers, NOW) is Verdict.REFUSED


def test_every_member_that_is_set_must_pass() -> None:
    both = Auth(bearer=BEARER.bearer, api_key=KEY.api_key)
    token, key = ("Authorization", "Bearer old-token"), ("X-Api-Key", "k1")

    assert verify(both, headers(token, key), NOW) is Verdict.PASSED
    assert verify(both, headers(token), NOW) is Verdict.REFUSED
    assert verify(both, headers(key), NOW) is Verdict.REFUSED


def test_a_secret_counts_only_while_it_lives() -> None:
    auth = Auth(bearer=(secret("a", not_after=NOW), secret("b", not_before=NOW + 10)))

    assert verify(auth, headers(("Authorization", "Bearer a")), NOW) is Verdict.PASSED
    assert verify(auth, headers(("Authorization", "Bearer b")), NOW) is Verdict.REFUSED
    assert verify(auth, headers(("Authorization", "Bearer a")), NOW + 10) is Verdict.REFUSED
    assert verify(auth, headers(("Authorization", "Bearer b")), NOW + 10) is Verdict.PASSED


@pytest.mark.parametrize("sent", [(), (("Authorization", "Bearer a"),)])
def test_no_live_secret_is_an_answer_of_its_own(sent: tuple[tuple[str, str], ...]) -> None:
    auth = Auth(bearer=(secret("a", not_after=NOW - 1),))

    assert verify(auth, headers(*sent), NOW) is Verdict.NO_KEY


def test_an_empty_secret_is_no_secret() -> None:
    auth = Auth(api_key=ApiKey(header="X-Api-Key", secrets=(secret(""),)))

    assert verify(auth, headers(("X-Api-Key", "")), NOW) is Verdict.NO_KEY


def test_every_live_secret_is_compared_even_after_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def digest(given: bytes, wanted: bytes) -> bool:
        compared.append(wanted)
        return given == wanted

    monkeypatch.setattr("hookpost.core.verification.hmac.compare_digest", digest)
    verify(BEARER, headers(("Authorization", "Bearer old-token")), NOW)

    assert compared == [b"old-token", b"new-token"]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.binary(max_size=30))
def test_no_header_value_raises(text: str, raw: bytes) -> None:
    value = raw.decode("utf-8", "surrogateescape")
    for auth in (BEARER, BASIC, KEY):
        for sent in (text, value, f"Bearer {value}", f"Basic {value}", f"Basic {text}"):
            assert verify(auth, headers(("Authorization", sent), ("X-Api-Key", sent)), NOW) in (
                Verdict.PASSED,
                Verdict.REFUSED,
            )


def test_the_challenge_names_what_is_asked_for() -> None:
    assert challenge(BEARER) == 'Bearer realm="hookpost"'
    assert challenge(Auth(basic=BASIC.basic, api_key=KEY.api_key)) == (
        'Basic realm="hookpost", charset="UTF-8", ApiKey realm="hookpost"'
    )
