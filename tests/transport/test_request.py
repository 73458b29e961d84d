"""What a request looks like on the wire, and what never gets there."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from hookpost.transport.request import FORMS_KEPT, Writing

URL_GIVEN = "https://crm.example/a%41/../b?q[]=%2F&100%"


def writing(url: str = URL_GIVEN, *, keep: bool = True) -> Writing:
    return Writing(URL(url, encoded=True), keep=keep)


def fields(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].decode().split("\r\n")[1:]


def test_a_head_is_written_in_full() -> None:
    head = writing().head((("webhook-id", "evt_1"), ("X-Rate", "100%")), 16)
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%41/../b?q[]=%2F&100% HTTP/1.1"
    assert re.fullmatch(r"User-Agent: hookpost/\S+", lines[2])
    assert [lines[1], *lines[3:]] == [
        "Host: crm.example",
        "Accept: */*",
        "Accept-Encoding: identity",
        "webhook-id: evt_1",
        "X-Rate: 100%",
        "Content-Length: 16",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://crm.example/", "crm.example"),
        ("https://crm.example:443/", "crm.example"),
        ("https://crm.example:80/", "crm.example:80"),
        ("http://crm.example:80/", "crm.example"),
        ("http://crm.example:443/", "crm.example:443"),
        ("http://crm.example:8080/", "crm.example:8080"),
        ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ("https://[2001:db8::1]/", "[2001:db8::1]"),
        ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
    ],
)
def test_host_is_the_urls_with_a_port_that_is_not_the_schemes_own(url: str, host: str) -> None:
    assert fields(writing(url).head((), 0))[0] == f"Host: {host}"


@pytest.mark.parametrize("target", ["https://crm.example", "https://crm.example?a=b"])
def test_a_url_without_a_path_asks_for_the_root(target: str) -> None:
    assert writing(target).head((), 0).startswith(b"POST /")


@pytest.mark.parametrize("name", ["User-Agent", "accept", "ACCEPT-ENCODING", "content-type"])
def test_a_given_field_replaces_the_default_whatever_its_case(name: str) -> None:
    lines = fields(writing().head(((name, "mine"),), 0))
    assert [line for line in lines if line.lower().startswith(f"{name.lower()}:")] == [
        f"{name}: mine"
    ]


def test_a_field_given_twice_is_written_twice() -> None:
    lines = fields(writing().head((("X-A", "1"), ("x-a", "2"), ("X-A", "3")), 0))
    assert [line for line in lines if line.lower().startswith("x-a")] == [
        "X-A: 1",
        "x-a: 2",
        "X-A: 3",
    ]


def test_connection_close_is_said_where_connections_are_not_kept() -> None:
    assert "Connection: close" in fields(writing(keep=False).head((), 0))
    assert not any(line.startswith("Connection") for line in fields(writing().head((), 0)))


def test_values_are_written_as_utf_8_without_lone_surrogates() -> None:
    head = writing().head((("X-Name", "Zoë\udcff\t☃"),), 0)
    assert "X-Name: Zoë\t☃\r\n".encode() in head


CONTROLS = [chr(code) for code in (*range(9), *range(10, 32), 127)]


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
@pytest.mark.parametrize("before", ["a", "ë"])
def test_a_control_character_in_a_value_is_refused(control: str, before: str) -> None:
    line = writing()
    line.head((("X-A", "1"), ("X-B", "2")), 0)  # the form is known: values are judged all the same
    with pytest.raises(ValueError, match="header X-B"):
        line.head((("X-A", "1"), ("X-B", f"{before}{control}b")), 0)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\n", "ë", "a\x00", "(a)"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a header name"):
        writing().head(((name, "v"),), 0)


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "Expect", "TE", "Upgrade"]
)
def test_a_name_that_frames_the_request_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="leave it out"):
        writing().head(((name, "chunked"),), 0)


def test_names_of_strangers_are_not_remembered_without_end() -> None:
    line = writing()
    for number in range(FORMS_KEPT * 3):
        assert f"X-{number}: v\r\n".encode() in line.head(((f"X-{number}", "v"),), 0)
        assert len(line._forms) <= FORMS_KEPT


NAMES = st.text(alphabet="aB-%ds_.", min_size=1, max_size=8)
VALUES = st.text(max_size=20)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.integers(0, 1 << 40))
def test_no_value_can_add_end_or_change_a_field(pairs: list[tuple[str, str]], size: int) -> None:
    """Names and values that look like a format are text like any other."""
    line = writing()
    try:
        head = line.head(pairs, size)
    except ValueError:
        assert any(control in value for _, value in pairs for control in CONTROLS)
        return
    written = fields(head)
    sent = [f"{name}: {value}".encode("utf-8", "ignore").decode() for name, value in pairs]
    assert [item for item in written if item in sent or item.split(":")[0] in dict(pairs)] == sent
    assert written[-1] == f"Content-Length: {size}"
    assert head.count(b"\r\n") == len(written) + 2
