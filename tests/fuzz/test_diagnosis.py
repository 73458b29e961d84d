"""Any request can be diagnosed, and the verdict is that of the proof itself."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from tests.web.test_presets import secret_of, source_of
from tests.web.test_signed_sources import NOW, config_of

from hookpost.config import presets
from hookpost.core.diagnosis import Result, diagnose
from hookpost.core.proof import prove
from hookpost.core.received import HeaderList, Received
from hookpost.core.scheme import SignatureScheme
from hookpost.core.settings import Config, Source
from hookpost.core.signature import Unproven
from hookpost.core.twilio import HEADER

SIGNED = sorted(name for name, row in presets.rows().items() if "api_key" not in row["auth"])
TEXTS = st.one_of(
    st.text(st.sampled_from("0123456789abcdefAF=,;: \udce9"), max_size=80),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40),
    st.sampled_from([str(NOW), f"{NOW}000", f"t={NOW},v1=00", "h:x", "[", "v1,AAAA v1a,AAAA"]),
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b'{"a": 1.0}', b"[1]", b'"\\ud800"', b"a=1&a=%ff", b"[" * 70]),
)


@cache
def config(preset: str) -> Config:
    with TemporaryDirectory() as folder:
        found = config_of(Path(folder), source_of(preset), {"a": secret_of(preset)})
    assert found is not None
    return found


def names(source: Source) -> Iterator[str]:
    """The headers that a source looks at, and others that the diagnosis does."""
    yield from ("Host", "X-Forwarded-Host", "Content-Type", "Content-Length", HEADER)
    for proof in source.auth.proofs:
        if isinstance(proof, SignatureScheme):
            yield from (*proof.signature.headers, *proof.id_headers)
            yield from proof.timestamp.headers if proof.timestamp is not None else ()


@given(data=st.data(), preset=st.sampled_from(SIGNED), body=BODIES, query=TEXTS)
def test_any_request_is_diagnosed_as_it_is_judged(
    data: st.DataObject, preset: str, body: bytes, query: str
) -> None:
    found = config(preset)
    source = found.sources["x"]
    pairs = st.tuples(st.sampled_from(sorted(set(names(source)))), TEXTS)
    received = Received(
        method="POST",
        url=found.url_of(source),
        query=query,
        headers=HeaderList(data.draw(st.lists(pairs, max_size=6))),
        body=body,
    )
    told = diagnose(found, source, received, NOW)
    failed = {step.name for step in told.steps if step.result is Result.FAILED}
    try:
        prove(source.auth.proofs, received, NOW)
    except Unproven:
        assert failed or "handshake" in {step.name for step in told.steps}
    else:
        assert not failed & {"secrets", "signature", "timestamp", "signed", "match", "freshness"}
