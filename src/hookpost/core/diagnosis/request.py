"""A whole request, judged in the order of ingest, and the event that it would become."""

from contextlib import suppress

from hookpost.core.diagnosis import credentials, proofs
from hookpost.core.diagnosis.case import Case
from hookpost.core.diagnosis.findings import Diagnosis
from hookpost.core.envelope import Malformed
from hookpost.core.event_types import judged
from hookpost.core.extract import has_id_header
from hookpost.core.handshake import Greeting, Handshake, answer, meant, unproved
from hookpost.core.identity import EventIds
from hookpost.core.media_types import takes
from hookpost.core.model import Event
from hookpost.core.reading import Reading, reading
from hookpost.core.received import Received
from hookpost.core.refusals import Refused
from hookpost.core.scheme import Key, SignatureScheme
from hookpost.core.settings import Auth, Config, Source
from hookpost.core.signature import Unproven, offered
from hookpost.core.webhook_origin import grant

_SHOWN = 10  # events of a batch
_LEAST_PRIVATE = 8  # characters


def diagnose(config: Config, source: Source, received: Received, wall: float) -> Diagnosis:
    """Judge a request to a source at wall-clock time `wall`.

    What only the connection or the running gateway knows (address, rate, duplicates) is not judged.
    """
    found = Diagnosis()
    case = Case(config=config, source=source, received=received, wall=wall)
    _judge(found, case)
    found.veil(_private(case))
    return found


def _private(case: Case) -> set[str]:
    """Secrets and signatures; words of a few letters would strike out half of what is told."""
    values = [secret.value for secret in case.config.secrets.values()]
    for proof in case.source.auth.proofs:
        if isinstance(proof, SignatureScheme):
            with suppress(Unproven):
                values += offered(proof.signature, case.received)[0]
    texts = (value.decode("utf-8", "replace").strip() for value in values)
    return {text for text in texts if len(text) >= _LEAST_PRIVATE}


def _judge(found: Diagnosis, case: Case) -> None:
    config, source, received, wall = case.config, case.source, case.received, case.wall
    _address(found, source)
    if received.method == "OPTIONS" and source.webhook_origins:
        _origin(found, source, received)
        return
    greeted = unproved(source.handshakes, received)
    if not _method(found, source, received) or not _body(found, config, source, received):
        return
    if greeted is not None:
        _greeting(found, greeted, received, None, wall)
        return
    credentials.judged(found, case)
    if received.method == "POST":
        _content(found, source, received)
    keys = [proofs.judged(found, case, proof) for proof in source.auth.proofs]
    if source.auth == Auth():
        found.note("credentials", "the source asks for none: anybody may send")
    if not found.verified:
        found.skipped("event", "not read: nobody has proved to be its publisher")
        return
    for handshake in source.handshakes:
        if meant(handshake, received):
            key = next((one for one in keys if one is not None), None)
            _greeting(found, handshake, received, key, wall)
            return
    if received.method != "POST":
        why = "what this source asks of a handshake is missing"
        found.failed("handshake", why, "handshake_invalid")
        return
    _events(found, case)


def _address(found: Diagnosis, source: Source) -> None:
    if source.allow_from is None:
        found.skipped("address", "the source lets every address in")
    else:
        message = "allow_from is not judged: a saved request does not say where it came from"
        found.skipped("address", message)


def _method(found: Diagnosis, source: Source, received: Received) -> bool:
    allowed = {"POST", *(one.when.method for one in source.handshakes)}
    if received.method in allowed:
        return True
    message = f"the method is {received.method}; this source takes {', '.join(sorted(allowed))}"
    found.failed("method", message, "method_not_allowed")
    return False


def _body(found: Diagnosis, config: Config, source: Source, received: Received) -> bool:
    """Size and encoding of the body; and whether it is all there."""
    most = config.listen.ingest.max_body if source.max_body is None else source.max_body
    size = len(received.body)
    said = received.headers.get("Content-Length")
    if said is not None and said != str(size):
        message = (
            f"Content-Length says {said}, and the saved body has {size} bytes: "
            "what was saved is not what was sent"
        )
        found.hint("body-length", message)
    codings = received.headers.getall("Content-Encoding", ())
    if size > most:
        message = f"the body has {size} bytes; at most {most} are taken"
        found.failed("body", message, "too_large")
    elif any(each.strip().lower() != "identity" for each in codings):
        message = "bodies with a Content-Encoding are not taken"
        found.failed("body", message, "content_encoding")
    else:
        found.ok("body", f"{size} bytes; at most {most} are taken")
    return found.verified


def _content(found: Diagnosis, source: Source, received: Received) -> None:
    kinds = source.content_types
    if kinds is not None and not takes(kinds, received.headers.getall("Content-Type", ())):
        message = f"this source takes the content types {', '.join(kinds)}"
        found.failed("content_type", message, "content_type")


def _greeting(
    found: Diagnosis, handshake: Handshake, received: Received, key: Key | None, wall: float
) -> None:
    """A handshake; its answer may hold what a secret makes, and is not shown."""
    said = answer(handshake, received, key, wall)
    if isinstance(said, Greeting):
        kind = said.content_type or "no body"
        message = f"this is a handshake, no event; the gateway answers {said.status}, {kind}"
        found.ok("handshake", message)
    else:
        found.failed("handshake", said.detail, said.code)


def _origin(found: Diagnosis, source: Source, received: Received) -> None:
    granted = grant(source, received.headers)
    if isinstance(granted, Refused):
        found.failed("origin", granted.detail, granted.code)
    else:
        found.ok("origin", f"{granted.origin} may send here")


# -- the event -------------------------------------------------------------------------------


def _events(found: Diagnosis, case: Case) -> None:
    how = reading(case.source, case.received.headers)
    if isinstance(how, Refused):
        found.failed("event", how.detail, how.code)
    elif how.cut is None:
        _event(found, _read(case, how, None))
    else:
        _batch(found, case, how)


def _batch(found: Diagnosis, case: Case, how: Reading) -> None:
    most = case.config.listen.ingest.max_batch
    parts = how.cut(case.received.body, most) if how.cut is not None else []
    if isinstance(parts, Malformed):
        found.failed("event", parts.detail, "malformed")
    elif len(parts) > most:
        found.failed("event", f"at most {most} events are taken at once", "batch_too_large")
    elif has_id_header(case.received.headers):
        found.failed("event", "a batch has an id in each event, not in a header", "batch_with_id")
    elif not parts and not how.emptiable:
        found.failed("event", "the batch is empty", "malformed")
    else:
        read = [_read(case, how, part) for part in parts]
        refused = [one for one in read if isinstance(one, Refused)]
        found.note("batch", f"{len(read)} events, {len(refused)} of them refused")
        if refused and len(refused) == len(read):
            found.failed("event", refused[0].detail, "batch_rejected")
        for one in read[:_SHOWN] if len(refused) < len(read) else ():
            if isinstance(one, Event):
                _event(found, one)
            else:
                found.note("event", f"refused ({one.code}): {one.detail}")


def _read(case: Case, how: Reading, part: bytes | None) -> Event | Refused:
    """One event: of the whole body, or of a part of a batch."""
    received, wall = case.received, case.wall
    body, whole = (received.body, received) if part is None else (part, None)
    ids = EventIds(0.0)
    event = how.extract(
        case.source, received.headers, body, ids, now=wall, wall=wall, received=whole
    )
    if isinstance(event, Refused):
        return event
    return judged(case.source.event_types, event, how.root)


def _event(found: Diagnosis, event: Event | Refused) -> None:
    if isinstance(event, Refused):
        found.failed("event", event.detail, event.code)
        for place in event.violations[1:]:
            found.note("schema", f"{place.path}: {place.message}")
        return
    found.ok("type", event.type)
    found.ok("id", event.id)
    if event.dedup_key is None:
        found.note("dedup", "it is compared with no other event")
    elif event.dedup_key == event.id:
        found.ok("dedup", f"by the id, for {event.dedup_window:g} s")
    else:
        found.ok("dedup", f"by {event.dedup_key}, for {event.dedup_window:g} s")
