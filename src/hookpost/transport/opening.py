"""The transport that an endpoint's settings ask for."""

from hookpost.clock import Clock
from hookpost.core.credentials import OAuth2
from hookpost.core.settings import Endpoint
from hookpost.transport import Transport
from hookpost.transport.authorized import AuthorizedTransport
from hookpost.transport.client import AiohttpTransport
from hookpost.transport.resolver import Lookup, system_lookup


def open_transport(
    endpoint: Endpoint, *, clock: Clock, lookup: Lookup = system_lookup
) -> Transport:
    """Lives on the loop that it was made on."""
    if isinstance(endpoint.auth, OAuth2):
        return AuthorizedTransport(endpoint, endpoint.auth, clock=clock, lookup=lookup)
    return AiohttpTransport(endpoint, clock=clock, lookup=lookup)
