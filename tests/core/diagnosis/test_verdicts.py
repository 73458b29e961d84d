"""A diagnosis says what the gateway does."""

from pathlib import Path

import pytest
from tests.vectored import Vector, body, loaded, url, vectors
from tests.web.test_vectors import NOT_TO_BE_SAID

from hookpost.core.diagnosis import diagnose
from hookpost.core.received import HeaderList, Received, called


def _judged(vector: Vector) -> bool:
    return vector["kind"] in ("verify", "challenge")


@pytest.mark.parametrize("scheme", sorted({one["scheme"] for one in vectors() if _judged(one)}))
def test_the_verdict_is_that_of_the_known_answers(tmp_path: Path, scheme: str) -> None:
    for vector in vectors():
        if vector["scheme"] != scheme or not _judged(vector):
            continue
        found = loaded(vector, tmp_path).config
        if found is None:
            continue
        method = vector.get("request", {}).get("method", "POST")
        query = url(vector).partition("?")[2]
        asked = Received(
            method=method,
            url=called(found.url_of(found.sources["x"]), query),
            query=query,
            headers=HeaderList((name, value) for name, value in vector["headers"]),
            body=body(vector),
        )
        diagnosis = diagnose(found, found.sources["x"], asked, vector["now"])
        posted = vector["kind"] == "challenge" or method == "POST"
        wanted = vector["expect"] == "accept" and posted
        if vector["name"] not in NOT_TO_BE_SAID:
            assert diagnosis.verified == wanted, (vector["name"], diagnosis)
        told = "\n".join([one.text for one in (*diagnosis.steps, *diagnosis.hints)])
        for secret in found.secrets.values():
            assert len(secret.value) < 10 or secret.value.decode() not in told
