"""`hookpost send`: post one event to a source of the configuration, as its publisher would."""

import argparse
import http.client
import json
import secrets
import sys
import uuid
from pathlib import Path
from typing import Any

from hookpost.cli import exits, sources
from hookpost.cli.client import Failure
from hookpost.cli.output import printable
from hookpost.cli.posting import post, trusting
from hookpost.cli.signing import Draft, proved, signs_id, token, usual_type
from hookpost.clock import SystemClock
from hookpost.core.attributes import PREFIX, SPECVERSION, STRUCTURED, encoded
from hookpost.core.model import Format
from hookpost.core.settings import Extractor, Source

SENT_BY = "/hookpost/send"
"""The `source` of CloudEvents that are made here."""


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`hookpost send SOURCE`."""
    parser = commands.add_parser(
        "send",
        parents=[common],
        help="post an event to a source of the configuration",
        description="Read an event from stdin and post it with the source's own credentials, "
        "signed as its publisher signs. To an envelope or CloudEvents source: with --type the "
        "input is the data, without it the whole envelope or event.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a name under `sources`")
    parser.add_argument("--type", metavar="TYPE", help="the event's type")
    parser.add_argument("--id", metavar="ID", help="the event's id, by which duplicates are found")
    parser.add_argument(
        "--data", default="-", metavar="FILE",
        help="where the input is: a file, with or without @ before it; - is stdin (default)",
    )  # fmt: skip
    parser.add_argument(
        "--content-type", metavar="TYPE",
        help="default: application/json, or a form where the publisher (Twilio) sends forms",
    )  # fmt: skip
    parser.add_argument("--query", default="", metavar="Q", help="what follows ? in the address")
    parser.add_argument(
        "--key", metavar="FILE",
        help="a private key (PEM) to sign with, where the source has the public one",
    )  # fmt: skip
    parser.add_argument(
        "--token", metavar="FILE", help="a token of the issuer, where the source takes tokens (jwt)"
    )
    parser.add_argument(
        "--cert", type=Path, metavar="FILE",
        help="a certificate with its key (PEM), where the listener asks its clients for one",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the answer.

    Exit code 0 for 2xx, 1 for any other answer, 64 for a source or an option that does not fit,
    66 without a file, 69 when nobody answers, 78 for an invalid configuration.
    """
    config = sources.configured(args.config, "send")
    source = sources.named(config, args.source)
    headers, body = request_for(
        source,
        sources.content(args.data, "--data"),
        event_type=args.type,
        event_id=args.id,
        content_type=args.content_type,
    )
    draft = Draft(
        source=source,
        url=config.url_of(source),
        query=args.query.removeprefix("?"),
        headers=headers,
        body=body,
    )
    if args.token is not None or source.auth.jwt is not None:
        headers.update(token(source, args.token))
    pem = None if args.key is None else sources.content(args.key, "--key")
    _checked({"id": args.id or "", "query": args.query})
    event_id = args.id or f"evt_{secrets.token_hex(16)}"
    signed, query = proved(draft, SystemClock().wall(), event_id, pem)
    target = f"{source.path}?{query}" if query else source.path
    listener = config.listen.ingest
    context = None if listener.tls is None else trusting(listener.tls, args.cert)
    status, answer = post(listener.address, target, signed, body, context)
    _show(status, answer, args.output)
    return exits.OK if 200 <= status < 300 else exits.NEGATIVE


def request_for(
    source: Source,
    data: bytes,
    *,
    event_type: str | None,
    event_id: str | None,
    content_type: str | None,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of the request, credentials left out.

    Failure (64) when the source has no place for the type or the id.
    """
    if source.format is Format.CLOUDEVENTS:
        return _cloudevent(event_type, event_id, content_type), data
    headers = {"Content-Type": content_type or usual_type(source)}
    if source.format is Format.RAW:
        _place(source, headers, event_type, None if signs_id(source) else event_id)
        return _checked(headers), data
    if event_type is None:
        if event_id is not None:
            headers["Idempotency-Key"] = event_id
        return _checked(headers), data
    if not data.strip():
        raise Failure("no data was given: an envelope's data is JSON, at least null", exits.USAGE)
    body = b'{"eventType":%b,' % json.dumps(event_type).encode()
    if event_id is not None:
        body += b'"eventId":%b,' % json.dumps(event_id).encode()
    return _checked(headers), body + b'"data":%b}' % data.strip()


def _cloudevent(
    event_type: str | None, event_id: str | None, content_type: str | None
) -> dict[str, str]:
    """With a type the headers of binary mode, without one those of a whole event."""
    if event_type is None:
        if event_id is not None:
            raise Failure("a whole CloudEvent has its own id: leave --id out", exits.USAGE)
        return _checked({"Content-Type": content_type or STRUCTURED})
    attributes = {
        "specversion": SPECVERSION,
        "id": event_id or uuid.uuid4().hex,
        "source": SENT_BY,
        "type": event_type,
    }
    headers = {f"{PREFIX}{name}": encoded(text) for name, text in attributes.items()}
    return _checked({"Content-Type": content_type or "application/json", **headers})


def _place(
    source: Source, headers: dict[str, str], event_type: str | None, event_id: str | None
) -> None:
    """Put a raw event's type and id where the source looks for them."""
    if event_type is not None:
        header = source.event_type.header if source.event_type else None
        if header is None:
            raise Failure(
                f'source "{source.name}" does not take its event type from a header'
                f"{_instead(source.event_type)}: leave --type out",
                exits.USAGE,
            )
        headers[header] = event_type
    if event_id is not None:
        extractor = source.event_id
        if extractor is not None and extractor.header is None:
            raise Failure(
                f'source "{source.name}" does not take its event id from a header'
                f"{_instead(extractor)}: leave --id out",
                exits.USAGE,
            )
        header = extractor.header if extractor is not None else None
        headers[header or "Idempotency-Key"] = event_id


def _instead(extractor: Extractor | None) -> str:
    """Where it is taken from, as an aside."""
    if extractor is None or extractor.text is None:
        return ""
    return f" but from {extractor.text}, which is a part of the input"


def _checked(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()) or (name == "query" and " " in value):
            message = f"{value!a} cannot be sent as {name}: printable ASCII only"
            raise Failure(message, exits.USAGE)
    return headers


def _show(status: int, answer: bytes, style: str) -> None:
    """The answer's body as data, its status as a word on stderr; JSON holds both."""
    text = answer.decode("utf-8", "replace")
    if style == "table":
        print(f"{status} {http.client.responses.get(status, '')}".rstrip(), file=sys.stderr)
        print(printable(text.strip()))
        return
    try:
        shown = json.loads(text)
    except ValueError:
        shown = text
    indent = 2 if style == "json" else None
    print(json.dumps({"status": status, "answer": shown}, indent=indent))
