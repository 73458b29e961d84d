"""The road of an event: admit → verify → extract → route → put. Answers a value, not a status.

The order is the contract's: method and path, limits (both the face's), then `admit`: address,
credentials, fitness; then `accept`: signature, rate, parse, type, schema, route, commit. An
acknowledgement is given only after the outbox's commit; any doubt about it is a refusal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hookpost.clock import Clock
from hookpost.core.envelope import Malformed
from hookpost.core.extract import expressed, has_id_header
from hookpost.core.fanout import Choice
from hookpost.core.forwarding import Client, Peers, client
from hookpost.core.handshake import Greeting
from hookpost.core.identity import EventIds
from hookpost.core.media_types import takes
from hookpost.core.ratelimit import Bucket, RateLimit, full, resized, take
from hookpost.core.reading import Reading, reading
from hookpost.core.received import Received, called
from hookpost.core.refusals import Refused
from hookpost.core.settings import Source
from hookpost.core.verification import Headers, Verdict, verify
from hookpost.core.webhook_origin import Grant, grant
from hookpost.metrics import Metrics, SourceMetrics
from hookpost.services import proving
from hookpost.services.commit import (
    PATIENCE,
    RETRY_LATER,
    RETRY_SOON,
    Commit,
    Commitment,
)
from hookpost.services.fanout import Fanout
from hookpost.services.health import Health
from hookpost.services.snapshot import Current, Snapshot
from hookpost.services.taking import Batch as Batch
from hookpost.services.taking import Taking
from hookpost.storage.outbox import Outbox

_UNFIT = {
    "starting": ("starting", RETRY_SOON),
    "draining": ("draining", RETRY_SOON),
    "storage_low": ("storage_low", RETRY_LATER),
    "storage_failed": ("storage_failed", RETRY_LATER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """One source as one configuration has it: what a request sees from first line to last.

    `url` is where its publisher calls it, "" where nobody said; `whole`: requests are judged with
    their bodies, so `admit` and `accept` are given a Received; `parsed`:
    expressions look into them.
    """

    snapshot: Snapshot
    source: Source
    metrics: SourceMetrics
    url: str = ""
    whole: bool = False
    parsed: bool = False
    methods: frozenset[str] = frozenset({"POST"})

    def received(self, method: str, query: str, headers: Headers) -> Received:
        """A request to this source whose body is still to come."""
        url = called(self.url, query)
        return Received(method=method, url=url, query=query, headers=headers, body=b"")

    @property
    def max_body(self) -> int:
        """Bytes of a body: the source's limit, else the listener's."""
        own = self.source.max_body
        return self.snapshot.config.listen.ingest.max_body if own is None else own

    @property
    def max_batch(self) -> int:
        """Events in a batch."""
        return self.snapshot.config.listen.ingest.max_batch

    @property
    def proxies(self) -> Peers:
        """Whose word about their clients counts."""
        return self.snapshot.config.listen.ingest.trusted_proxies


class IngestService:
    """Takes events in. `dice` gives [0, 1); `patience` is seconds to wait for a commit."""

    def __init__(
        self,
        current: Current,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
        health: Health,
        dice: Callable[[], float],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._current = current
        self._metrics = metrics
        self._clock = clock
        self._health = health
        self._commit = Commit(outbox, clock, patience)
        self._fanout = Fanout(metrics, clock)
        self._taking = Taking(self._commit, self._fanout, clock)
        self._ids = EventIds(dice())
        self._buckets: dict[str, tuple[Bucket, RateLimit]] = {}
        self._compiled: Snapshot | None = None
        self._entrances: dict[str, Entrance] = {}

    def entrance(self, path: str) -> Entrance | None:
        """The source that has this path in the configuration in force."""
        snapshot = self._current.snapshot
        if snapshot is not self._compiled:
            self._compile(snapshot)
        return self._entrances.get(path)

    def grant(self, entrance: Entrance, headers: Headers, peer: str | None) -> Grant | Refused:
        """Answer a sender who asks whether it may send."""
        return _kept_out(entrance, headers, peer) or grant(entrance.source, headers)

    def admit(
        self,
        entrance: Entrance,
        headers: Headers,
        peer: str | None,
        received: Received | None = None,
        tokens: Sequence[str] = (),
    ) -> Refused | None:
        """Judge what the headers prove, before a byte of the body is read.

        `peer` is the connection's IP address, None on a UNIX socket; `tokens` are the bearer tokens
        of the query.
        """
        source = entrance.source
        refused = _kept_out(entrance, headers, peer)
        if refused is not None:
            return refused
        if received is not None and proving.unproved(source, received) is not None:
            return self._unfit()
        match verify(source.auth, headers, self._clock.wall(), tokens):
            case Verdict.REFUSED:
                return Refused("unauthorized", "send the credentials that this source asks for")
            case Verdict.NO_KEY:
                return Refused("no_live_key", "no secret of this source is live", RETRY_LATER)
            case Verdict.PASSED:
                greeting = received is not None and received.method != "POST"
                kinds = None if greeting else source.content_types
                return self._unfit() or _untaken(kinds, headers)

    def client(self, headers: Headers, peer: str | None) -> Client:
        """Who sends, for the log: by the proxies that are trusted now."""
        return client(peer, headers, self._current.snapshot.config.listen.ingest.trusted_proxies)

    def accept(
        self,
        entrance: Entrance,
        headers: Headers,
        body: bytes,
        received: Received | None = None,
    ) -> Commitment | Batch | Greeting | Refused:
        """Take one event, or a batch of them, from an admitted request.

        A Commitment's answer is a PutAnswer, a Batch or Refused.
        """
        if received is not None:
            received.body = body
            judged = self._judged(entrance, received)
            if judged is not None:
                return judged
        elif entrance.parsed:  # once, for all that look into it
            received = Received(method="POST", headers=headers, body=body)
        how = reading(entrance.source, headers)
        if isinstance(how, Reading) and how.cut is not None:
            return self._batch(entrance, headers, how, how.cut(body, entrance.max_batch))
        refused = self._throttle(entrance, 1)
        if refused is not None:
            return refused
        if isinstance(how, Refused):
            return how
        now, wall = self._clock.now(), self._clock.wall()
        event = how.extract(
            entrance.source, headers, body, self._ids, now=now, wall=wall, received=received
        )
        if isinstance(event, Refused):
            return event
        types = entrance.source.event_types
        if types is None:
            owed = entrance.snapshot.route(event.source, event.type)
            if isinstance(owed, Choice):
                owed = self._fanout.choose(entrance.snapshot, owed, event, received)
            return self._commit.one(event, owed)
        return self._taking.take(
            types, entrance.snapshot, (event,), root=how.root, size=len(event.body), single=True
        )

    def _judged(self, entrance: Entrance, received: Received) -> Greeting | Refused | None:
        """What a request whose body had to be there is told; None: it is an event's."""
        judged = proving.judge(entrance.source, received, self._clock.wall())
        if isinstance(judged, Greeting):
            return self._throttle(entrance, 1) or judged
        return judged

    def _compile(self, snapshot: Snapshot) -> None:
        self._entrances = {
            source.path: Entrance(
                snapshot=snapshot,
                source=source,
                metrics=self._metrics.source(source.name),
                url=snapshot.config.url_of(source),
                whole=proving.reads_whole(source),
                parsed=expressed(source),
                methods=proving.methods(source),
            )
            for source in snapshot.config.sources.values()
        }
        self._compiled = snapshot

    def _unfit(self) -> Refused | None:
        """Why no event can be taken now."""
        health = self._health
        if not (health.draining or health.storage_low or health.storage_failed or health.starting):
            return None
        code, seconds = _UNFIT[health.refusals()[0]]
        return Refused(code, "try again later; nothing was stored", seconds)

    def _throttle(self, entrance: Entrance, events: int) -> Refused | None:
        """Take a token for each event. A batch beyond the burst goes into debt for the rest."""
        limit = entrance.source.rate_limit
        if limit is None:
            return None
        name, now = entrance.source.name, self._clock.monotonic()
        bucket, known = self._buckets.get(name) or (full(limit, now), limit)
        if known != limit:
            bucket = resized(bucket, known, limit, now)
        at_once = min(events, limit.burst)
        bucket, seconds = take(bucket, limit, now, at_once)
        if not seconds and events > at_once:
            bucket = replace(bucket, tokens=bucket.tokens - (events - at_once))
        self._buckets[name] = (bucket, limit)
        if not seconds:
            return None
        allowed = f"{limit.rate:g}/s, burst {limit.burst}"
        return Refused("rate_limited", f"this source may send {allowed}", seconds)

    def _batch(
        self, entrance: Entrance, headers: Headers, how: Reading, cut: list[bytes] | Malformed
    ) -> Commitment | Batch | Refused:
        """One transaction for the good parts, a result for each part."""
        parts = () if isinstance(cut, Malformed) else cut
        if len(parts) > entrance.max_batch:
            return Refused("batch_too_large", f"at most {entrance.max_batch} events are taken")
        refused = self._throttle(entrance, max(1, len(parts)))
        if refused is not None:
            return refused
        if has_id_header(headers):
            return Refused("batch_with_id", "give each event of the batch its own id instead")
        if isinstance(cut, Malformed):
            return Refused("malformed", cut.detail)
        if not parts and not how.emptiable:
            return Refused("malformed", "the batch has no line; send one envelope a line")
        now, wall = self._clock.now(), self._clock.wall()
        read = [
            how.extract(entrance.source, headers, part, self._ids, now=now, wall=wall)
            for part in parts
        ]
        size = sum(map(len, parts))
        return self._taking.take(
            entrance.source.event_types,
            entrance.snapshot,
            read,
            root=how.root,
            size=size,
            single=False,
        )


def _kept_out(entrance: Entrance, headers: Headers, peer: str | None) -> Refused | None:
    """Whether the client's address may not send to the source."""
    allowed = entrance.source.allow_from
    if allowed is None or allowed.hold(client(peer, headers, entrance.proxies)):
        return None
    return Refused("address_not_allowed", "this address is not in the source's allow_from")


def _untaken(kinds: tuple[str, ...] | None, headers: Headers) -> Refused | None:
    """What is wrong with the type of a body; nothing where the source lists none."""
    if kinds is None or takes(kinds, headers.getall("Content-Type", ())):
        return None
    return Refused("content_type", f"this source takes {', '.join(kinds)}")
