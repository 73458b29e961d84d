"""What fuzzing has found, each by its own name."""

from pathlib import Path

import pytest
from tests.fuzz.effort import SECONDS
from tests.fuzz.http_requests import SMUGGLED
from tests.fuzz.spent import bounded, within_memory
from tests.ingest_rig import a_rig, a_snapshot, a_source, served

from hookpost.config import Loaded, load
from hookpost.config.diagnostics import MOST, nearest
from hookpost.config.expressions import compile_expression
from hookpost.core.model import Format
from hookpost.core.settings import Auth, Extractor


def _loaded(directory: Path, text: str) -> Loaded:
    path = directory / "gateway.yaml"
    path.write_text(text)
    return load(path, environ={}, wall=1_800_000_000.0)


@pytest.mark.parametrize(
    "values",
    [
        "endpoints: {crm: {success: [" + "{}, 1, x, " * MOST + "]}}",
        "retry_policies: {p: {schedule: [" + "1x, " * 2 * MOST + "]}}",
        "egress_policies: {p: {allow: [" + "x, " * 2 * MOST + "]}}",
    ],
)
def test_more_mistakes_than_are_shown_are_still_diagnosed(tmp_path: Path, values: str) -> None:
    """What was not looked at any more was taken for sound, and raised further on."""
    loaded = _loaded(tmp_path, f"version: 1\n{values}\n")
    assert loaded.config is None
    assert len(loaded.diagnostics) == MOST + 1
    assert loaded.diagnostics[-1].code == "too-many-mistakes"


def test_thousands_of_misspelled_names_are_diagnosed_in_bounded_time(tmp_path: Path) -> None:
    """Each was compared in earnest with each name there is: minutes for half a megabyte."""
    known = "".join(f"  standard{n}: {{max_age: 1d}}\n" for n in range(1000))
    users = "".join(f"  e{n}: {{url: https://h/, retry: standrd{n}}}\n" for n in range(2000))
    with bounded(2 * SECONDS):
        loaded = _loaded(tmp_path, f"version: 1\nretry_policies:\n{known}endpoints:\n{users}")
    assert len(loaded.diagnostics) == MOST + 1
    assert loaded.diagnostics[0].suggestion is not None


def test_a_misspelled_name_is_found_among_thousands() -> None:
    known = [f"endpoint-{n}" for n in range(3000)]
    assert nearest("endpiont-2741", known) == "endpoint-2741"
    assert nearest("2741-endpoint", known) is None


@pytest.mark.parametrize(
    "text",
    [
        "|".join(["[@,@]"] * 13) + "|to_string(@)",
        "|".join(["{a:@,b:@}"] * 13) + "|to_string(@)",
        "|".join(["[@,@]"] * 12) + "|[0]|to_string([@,@])",
    ],
)
@pytest.mark.parametrize("value", ["x" * 65536, ["x" * 65536]], ids=["text", "list"])
def test_long_texts_many_times_over_are_charged_before_they_are_written(
    text: str, value: object
) -> None:
    """A list of one long text a thousand times weighed as much as one of a thousand letters."""
    evaluate = compile_expression(text)
    with within_memory(16 << 20), bounded(SECONDS), pytest.raises(ValueError, match="too much"):
        evaluate({"body": value})


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /in/open\r\n\r\n",
        b"POST /in/open\r\nHost: x\r\n\r\n",
        b"POST /in/open HTTP/0.9\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
        b"POST /in/open HTTP/2.0\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
        b"POST /in/open HTTP/2.0\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
    ],
)
async def test_versions_of_http_that_are_not_spoken_are_refused(raw: bytes) -> None:
    """The parser takes them, and so they were stored."""
    source = a_source(
        "open", format=Format.RAW, event_type=Extractor(value="raw.came"), auth=Auth()
    )
    rig = a_rig(a_snapshot(source))
    async with served(rig) as web:
        reply = await web.once(raw)
        assert (reply.status, reply.json["code"]) == (400, "malformed_http")
        assert reply.headers["Connection"] == "close"
    assert rig.outbox.events == []


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT /in/billing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nX-Length: %d\r\n\r\n",
    ],
)
async def test_what_comes_behind_a_connect_is_not_read_as_a_request(head: bytes) -> None:
    """It was, even where the head said that it was a body."""
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        reply = await client.ask(head % len(SMUGGLED) + SMUGGLED)
        assert reply.status in (404, 405)
        assert reply.headers["Connection"] == "close"
        assert await client.closed()
        await client.close()
    assert rig.outbox.events == []
