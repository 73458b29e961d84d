"""What one configuration comes to: frozen values, units resolved, references followed.

Durations are seconds, sizes bytes, times UNIX seconds. The defaults of every key live here, in
these classes and in the policies' own; a test keeps the schema's stated defaults equal to them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hookpost.core.addresses import EgressPolicy
from hookpost.core.alerts import AlertRule
from hookpost.core.breaker import BreakerPolicy
from hookpost.core.credentials import Credentials
from hookpost.core.event_types import EventTypes
from hookpost.core.expression import Expression as Expression
from hookpost.core.expression import Formula
from hookpost.core.forwarding import Peers
from hookpost.core.handshake import Handshake
from hookpost.core.model import Format, OnRemove, Payload
from hookpost.core.ordering import Ordering
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import STANDARD, RetryPolicy
from hookpost.core.scheme import Proof
from hookpost.core.secrets import Secret
from hookpost.core.signing import Signing

SUCCESS = frozenset(range(200, 300))


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (name, IPv4 or bare IPv6) and a port; port 0 asks the kernel for one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A UNIX socket's path."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A listener's certificate and its key, and the CA that clients' certificates must be of.

    `context` is what the files came to, an `ssl.SSLContext`; `digest` tells it from that of other
    contents of the same files.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None
    digest: str = field(repr=False)
    context: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestListener:
    """Where events come in, and what one request may cost.

    Of `trusted_proxies` is believed whom they say they speak for. `public_url` is what the
    addresses that publishers were given begin with: the path of a source follows.
    """

    address: Address = TcpAddress("127.0.0.1", 8480)
    mode: int = 0o660  # of a UNIX socket
    max_body: int = 1 << 20
    header_timeout: float = 10.0
    body_timeout: float = 10.0
    max_connections: int = 1024
    max_batch: int = 1000
    trusted_proxies: Peers = field(default_factory=Peers)
    tls: Tls | None = None  # None: plain HTTP
    public_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsListener:
    """Where Prometheus and people look."""

    address: Address = TcpAddress("127.0.0.1", 8481)
    mode: int = 0o660  # of a UNIX socket


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminListener:
    """Where the command line talks to the daemon: a UNIX socket only."""

    address: UnixAddress
    mode: int = 0o660


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """The three listeners."""

    ingest: IngestListener = field(default_factory=IngestListener)
    ops: OpsListener = field(default_factory=OpsListener)
    admin: AdminListener


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where the outbox lives. `synchronous` is full or extra; `min_free` is bytes of disk."""

    path: Path
    synchronous: str = "full"
    min_free: int = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished and parked deliveries are kept, and how large the database may grow."""

    delivered: float = 7 * 86400.0
    dead: float = 30 * 86400.0
    cancelled: float = 7 * 86400.0
    parked: float = 14 * 86400.0
    max_size: int = 10 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """HTTP Basic credentials: one name, several passwords while they rotate."""

    username: str
    passwords: tuple[Secret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A secret in a header of one's own."""

    header: str
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """A JSON Web Token as a bearer: who issues it, and for whom. `leeway` is seconds.

    `payload` gives the payload of a token that a key of the file has signed, None for any other;
    `digest` tells it from that of other contents of the file.
    """

    jwks_file: Path
    issuer: str
    audience: str
    leeway: float = 60.0
    digest: str = field(repr=False)
    payload: Callable[[bytes], bytes | None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How a publisher proves itself: every member that is set must pass; none set = unverified.

    `proofs` are those that need the body.
    """

    bearer: tuple[Secret, ...] | None = None
    basic: Basic | None = None
    api_key: ApiKey | None = None
    jwt: Jwt | None = None
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extractor:
    """Where a raw source's event type or id comes from: a header or an expression, then `value`."""

    header: str | None = None
    value: str | None = None
    expression: Expression | None = field(default=None, compare=False)
    text: str | None = None  # the expression as written


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessAnswer:
    """What a publisher is told when its event is stored. `body` None: what the gateway says."""

    status: int | None = None  # None: 202, and 200 for a duplicate
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One publisher. `allow_from` None lets all addresses in; `dedup_window` None: no dedup.

    `max_body` None is the listener's; `content_types` None takes what the format can read.
    `event_types` None takes every type.
    `url` is the address that the publisher was given, where it is not `public_url` and the path.
    `dedup_key` are the expressions whose values tell events apart, where the id does not.
    `webhook_origins` are in lower case, or `*`; none: no handshake is answered.
    """

    name: str
    path: str
    auth: Auth = field(default_factory=Auth)
    allow_from: Peers | None = None
    format: Format = Format.ENVELOPE
    event_type: Extractor | None = None
    event_id: Extractor | None = None
    event_types: EventTypes | None = None
    forward_headers: tuple[str, ...] = ()
    dedup_window: float | None = 86400.0
    dedup_key: tuple[Expression, ...] = field(default=(), compare=False)
    rate_limit: RateLimit | None = None
    max_body: int | None = None
    content_types: tuple[str, ...] | None = None
    url: str | None = None
    answer: SuccessAnswer = field(default_factory=SuccessAnswer)
    handshakes: tuple[Handshake, ...] = ()
    webhook_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How an endpoint is spoken to: by whose CA, with which certificate, from which version on.

    `context` and `digest` are as those of `Tls`.
    """

    ca: Path | None = None  # None: the system's
    cert: Path | None = None
    key: Path | None = None
    min_version: str = "1.2"
    digest: str = field(default="", repr=False)
    context: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One receiver. `url` may hold a secret (`url_secret`): show it through `shown_url` only.

    `ordering` None: attempts are made in any order.
    """

    name: str
    url: str = field(repr=False)
    url_secret: str | None = None
    signing: Signing | None = None  # None: unsigned on purpose
    auth: Credentials | None = None
    tls: ClientTls | None = None  # None: the system's CAs, TLS 1.2 or newer
    proxy: TcpAddress | None = None
    headers: tuple[tuple[str, str], ...] = ()
    success: frozenset[int] = SUCCESS
    retry: RetryPolicy = STANDARD
    rate_limit: RateLimit | None = None
    circuit_breaker: BreakerPolicy | None = field(default_factory=BreakerPolicy)
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    concurrency: int = 8
    timeout: float = 3.0
    keepalive: float = 1.5
    max_pending: int = 1_000_000
    on_remove: OnRemove = OnRemove.PARK
    renamed_from: str | None = None
    paused: bool = False
    payload: Payload = Payload.AUTO
    ordering: Ordering | None = None

    @property
    def shown_url(self) -> str:
        """The URL as it may be printed: without its query, or only the secret's name."""
        if self.url_secret is not None:
            return f"secret:{self.url_secret}"
        return self.url.split("?", 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Which events of which sources go to which endpoints. `sources` None means all.

    `filter` says which of them, `transform` what is sent as their data.
    """

    name: str
    sources: tuple[str, ...] | None = None
    events: tuple[str, ...] = ("**",)
    filter: Formula | None = None
    transform: Formula | None = None
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """level: debug info warning error; format: auto text json."""

    level: str = "info"
    format: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One whole, valid configuration.

    `hash` covers the files' values and is published; `fingerprint` covers the secrets' bytes too.
    """

    path: Path
    listen: Listen
    storage: Storage
    retention: Retention = field(default_factory=Retention)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    sources: Mapping[str, Source] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    subscriptions: tuple[Subscription, ...] = ()
    alerts: AlertRule = field(default_factory=AlertRule)
    logging: Logging = field(default_factory=Logging)
    hash: str = ""
    fingerprint: str = field(default="", repr=False)

    def url_of(self, source: Source) -> str:
        """The address that its publisher was given; "" where nobody said."""
        public = self.listen.ingest.public_url
        if source.url is not None:
            return source.url
        return "" if public is None else f"{public}{source.path}"
