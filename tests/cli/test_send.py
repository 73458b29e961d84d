"""`hookpost send`: the request a publisher would make."""

import argparse
import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests import certificates

from hookpost.cli import posting, send, signing, sources
from hookpost.cli.client import Failure
from hookpost.core.model import Format
from hookpost.core.secrets import Secret
from hookpost.core.settings import (
    ApiKey,
    Auth,
    Basic,
    Extractor,
    Source,
    TcpAddress,
    UnixAddress,
)


def a_secret(value: str, **times: float) -> Secret:
    return Secret(name="token", value=value.encode(), **times)


def a_source(**overrides: Any) -> Source:
    return Source(**{"name": "billing", "path": "/in/billing", **overrides})


def request(source: Source, data: bytes, **options: str) -> tuple[dict[str, str], bytes]:
    every = {"event_type": None, "event_id": None, "content_type": None, **options}
    return send.request_for(source, data, **every)


def test_with_a_type_the_input_is_the_data_and_keeps_its_bytes() -> None:
    headers, body = request(a_source(), b' {"n": 1.0}\n', event_type="invoice.paid", event_id="i1")
    assert body == b'{"eventType":"invoice.paid","eventId":"i1","data":{"n": 1.0}}'
    assert headers == {"Content-Type": "application/json"}


def test_without_a_type_the_input_is_the_whole_envelope() -> None:
    envelope = b'{"eventType":"a","data":1}'
    headers, body = request(a_source(), envelope, event_id="i1")
    assert body == envelope
    assert headers == {"Content-Type": "application/json", "Idempotency-Key": "i1"}


def test_no_data_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(Failure, match="no data") as told:
        request(a_source(), b" \n", event_type="a")
    assert told.value.code == 64


RAW = a_source(
    format=Format.RAW,
    event_type=Extractor(header="X-Kind"),
    event_id=Extractor(header="X-Delivery"),
)


def test_a_raw_event_has_type_and_id_where_the_source_looks_for_them() -> None:
    headers, body = request(
        RAW, b"\x00raw", event_type="push", event_id="d1", content_type="text/plain"
    )
    assert body == b"\x00raw"
    assert headers == {"Content-Type": "text/plain", "X-Kind": "push", "X-Delivery": "d1"}


def test_a_raw_source_without_a_place_for_type_or_id_says_so() -> None:
    fixed = a_source(
        format=Format.RAW, event_type=Extractor(value="push"), event_id=Extractor(value="x")
    )
    with pytest.raises(Failure, match="leave --type out"):
        request(fixed, b"", event_type="push")
    with pytest.raises(Failure, match="leave --id out"):
        request(fixed, b"", event_id="1")
    plain = a_source(format=Format.RAW, event_type=Extractor(value="push"))
    assert request(plain, b"", event_id="1")[0]["Idempotency-Key"] == "1"


def test_a_cloudevent_is_made_around_the_data_or_sent_whole() -> None:
    source = a_source(format=Format.CLOUDEVENTS)
    headers, body = request(source, b"\x00", event_type="größe", event_id="1 2", content_type="a/b")
    assert body == b"\x00"
    assert headers == {
        "Content-Type": "a/b",
        "ce-specversion": "1.0",
        "ce-id": "1%202",
        "ce-source": "/hookpost/send",
        "ce-type": "gr%C3%B6%C3%9Fe",
    }
    first, second = (request(source, b"1", event_type="t")[0]["ce-id"] for _ in range(2))
    assert first != second
    assert request(source, b"{}") == ({"Content-Type": "application/cloudevents+json"}, b"{}")
    with pytest.raises(Failure, match="leave --id out"):
        request(source, b"{}", event_id="1")


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "é", "\x00"])
def test_a_header_cannot_be_split(value: str) -> None:
    with pytest.raises(Failure, match="printable ASCII only"):
        request(RAW, b"", event_type=value)


def test_credentials_are_those_of_the_first_live_secret() -> None:
    old, new = a_secret("old", not_after=99.0), a_secret("new")
    assert signing.credentials(a_source(auth=Auth(bearer=(old, new))), 100.0) == {
        "Authorization": "Bearer new"
    }
    basic = Auth(
        basic=Basic(username="u", passwords=(a_secret("p:é"),)),
        api_key=ApiKey(header="X-Key", secrets=(new,)),
    )
    assert signing.credentials(a_source(auth=basic), 100.0) == {
        "X-Key": "new",
        "Authorization": "Basic " + base64.b64encode("u:p:é".encode()).decode(),
    }
    assert signing.credentials(a_source(), 100.0) == {}


def test_a_source_whose_secrets_are_all_over_names_them_without_their_values() -> None:
    source = a_source(auth=Auth(bearer=(a_secret("hunter2", not_after=1.0),)))
    with pytest.raises(Failure, match="no live secret: token") as told:
        signing.credentials(source, 100.0)
    assert "hunter2" not in str(told.value)


class Ingest(HTTPServer):
    """Answers 202 and keeps what it was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Answer, **options)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []


class _Answer(BaseHTTPRequestHandler):
    server: Ingest

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b'{"eventId":"evt_1"}')

    def log_message(self, *_: object) -> None:
        return

    def address_string(self) -> str:
        return "peer"


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    with Ingest() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_an_event_is_posted_over_tcp(ingest: Ingest, host: str) -> None:
    address = TcpAddress(host, ingest.server_port)
    assert posting.post(address, "/in/billing", {"X-A": "1"}, b"{}") == (
        202,
        b'{"eventId":"evt_1"}',
    )
    path, headers, body = ingest.requests[0]
    assert (path, headers["X-A"], body) == ("/in/billing", "1", b"{}")


def test_an_event_is_posted_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "ingest.sock"
    with Ingest(bind_and_activate=False) as server:
        server.socket.close()
        server.socket = socket.socket(socket.AF_UNIX)
        server.socket.bind(str(path))
        server.socket.listen()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert posting.post(UnixAddress(path), "/in", {}, b"{}")[0] == 202
        finally:
            server.shutdown()
            thread.join(10)


def test_a_refusal_half_way_through_the_body_is_still_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    continue

        thread = threading.Thread(target=refuse)
        thread.start()
        address = TcpAddress("127.0.0.1", server.getsockname()[1])
        assert posting.post(address, "/in", {}, b"x" * (1 << 20)) == (413, b"no")
        thread.join(10)


@pytest.mark.parametrize("client_ca", [False, True])
def test_a_listener_with_a_certificate_is_spoken_to_in_tls(tmp_path: Path, client_ca: bool) -> None:
    authority = trustme.CA()
    leaf = certificates.write(tmp_path, authority)
    tls = certificates.settings(tmp_path, client_ca=client_ca)
    (tmp_path / "mine.pem").write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    with Ingest() as server:
        server.socket = tls.context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = TcpAddress("127.0.0.1", server.server_port)
        try:
            shown = posting.trusting(tls, tmp_path / "mine.pem")
            assert posting.post(address, "/in", {}, b"{}", shown)[0] == 202
            certificates.write(tmp_path, trustme.CA())
            with pytest.raises(Failure, match=r"no TLS with .*CERTIFICATE_VERIFY_FAILED"):
                posting.post(
                    address, "/in", {}, b"{}", posting.trusting(tls, tmp_path / "mine.pem")
                )
        finally:
            server.shutdown()
            thread.join(10)
    with pytest.raises(Failure, match="--cert") as told:
        posting.trusting(tls, tmp_path / "absent")
    assert told.value.code == 66
    if client_ca:
        with pytest.raises(Failure, match="give --cert"):
            posting.trusting(tls, None)


def test_a_credential_that_is_not_ascii_is_sent_as_utf_8(ingest: Ingest) -> None:
    address = TcpAddress("127.0.0.1", ingest.server_port)
    assert posting.post(address, "/in", {"X-Key": "clé"}, b"")[0] == 202
    assert ingest.requests[0][1]["X-Key"].encode("latin-1") == "clé".encode()


def test_nobody_there_is_told_with_the_address(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = TcpAddress("127.0.0.1", unused.getsockname()[1])
        with pytest.raises(Failure, match=r"nobody answers at 127\.0\.0\.1") as told:
            posting.post(address, "/in", {}, b"")
    assert told.value.code == 69
    with pytest.raises(Failure, match="nobody answers at unix:") as told:
        posting.post(UnixAddress(tmp_path / "absent"), "/in", {}, b"")
    assert told.value.code == 69


@pytest.mark.parametrize(
    ("style", "out", "err"),
    [
        ("table", '{"a":"\\x1b"}\n', "202 Accepted\n"),
        ("jsonl", '{"status": 202, "answer": {"a": 1}}\n', ""),
    ],
)
def test_the_answer_is_data_on_stdout(
    style: str, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    send._show(202, b'{"a":"\x1b"}' if style == "table" else b'{"a":1}', style)
    told = capsys.readouterr()
    assert (told.out, told.err) == (out, err)


CONFIG = """
version: 1
listen:
  ingest: {{address: "127.0.0.1:{port}"}}
  admin: {{address: "unix:admin.sock"}}
storage: {{sqlite: {{path: outbox.db}}}}
secrets:
  token: {{file: token}}
sources:
  billing: {{path: /in/billing, auth: {{bearer: [token]}}, format: envelope}}
endpoints:
  crm: {{url: "https://crm.example.com/hooks", signing: none}}
subscriptions:
  all: {{endpoints: [crm]}}
"""


def run(*arguments: str, config: Path) -> int:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path)
    common.add_argument("-o", "--output", default="table")
    parser = argparse.ArgumentParser()
    send.add_parser(parser.add_subparsers(), common)
    args = parser.parse_args(["send", *arguments, "--config", str(config)])
    return int(args.run(args))


@pytest.fixture
def config(tmp_path: Path, ingest: Ingest) -> Path:
    (tmp_path / "token").write_text("canary-token\n")
    (tmp_path / "token").chmod(0o600)
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG.format(port=ingest.server_port))
    return path


def test_the_whole_command_posts_as_the_configuration_says(
    config: Path, ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text('{"n":1}')
    data = f"@{tmp_path / 'data'}"
    assert run("billing", "--type", "invoice.paid", "--data", data, config=config) == 0
    path, headers, body = ingest.requests[0]
    assert path == "/in/billing"
    assert headers["Authorization"] == "Bearer canary-token"
    assert body == b'{"eventType":"invoice.paid","data":{"n":1}}'
    told = capsys.readouterr()
    assert told.out == '{"eventId":"evt_1"}\n'
    assert "canary" not in told.out + told.err


def test_an_unknown_source_names_the_one_that_was_meant(config: Path) -> None:
    with pytest.raises(Failure, match='did you mean "billing"') as told:
        run("biling", config=config)
    assert told.value.code == 64


def test_a_file_that_is_missing_or_invalid_has_its_exit_code(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Failure) as told:
        run("billing", config=tmp_path / "absent.yaml")
    assert told.value.code == 66
    config.write_text(config.read_text().replace("format: envelope", "format: envelop"))
    with pytest.raises(Failure) as told:
        run("billing", config=config)
    assert told.value.code == 78
    assert "sources.billing.format" in capsys.readouterr().err
    with pytest.raises(Failure) as told:
        sources.content("@" + str(tmp_path / "absent"), "--data")
    assert told.value.code == 66


@pytest.mark.parametrize("module", ["send", "verify", "secrets", "listen"])
def test_a_command_loads_no_server_before_it_serves(module: str) -> None:
    program = (
        f"import sys, hookpost.cli.{module}\n"
        "sys.exit(bool({'aiohttp', 'uvloop', 'aiosqlite', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


def test_an_answer_that_is_no_json_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    send._show(502, b"<html>", "json")
    assert json.loads(capsys.readouterr().out) == {"status": 502, "answer": "<html>"}
