"""Who speaks, judged with the body; and handshakes, which are answered and never stored."""

from hookpost.core import handshake
from hookpost.core.handshake import Greeting, Handshake, answer, meant
from hookpost.core.proof import prove
from hookpost.core.received import Received
from hookpost.core.refusals import Refused
from hookpost.core.settings import Source
from hookpost.core.signature import Unproven
from hookpost.core.template import is_document
from hookpost.services.commit import RETRY_LATER

_TOLD = {
    "unauthorized": "send the signature that this source asks for",
    "no_live_key": "no secret of this source is live",
}


def reads_whole(source: Source) -> bool:
    """Whether its requests are judged as a whole, not by their headers alone."""
    return bool(source.auth.proofs or source.handshakes)


def methods(source: Source) -> frozenset[str]:
    """The methods that a source answers."""
    asked = {"OPTIONS"} if source.webhook_origins else set()
    return frozenset({"POST", *(one.when.method for one in source.handshakes), *asked})


def unproved(source: Source, received: Received) -> Handshake | None:
    """The handshake that this is, where it needs no proof of an event's kind."""
    return handshake.unproved(source.handshakes, received)


def judge(source: Source, received: Received, wall: float) -> Greeting | Refused | None:
    """What a whole request is answered at once; None: it is proved, and holds an event.

    What its headers prove was judged before.
    """
    greeted = unproved(source, received)
    if greeted is not None:
        return answer(greeted, received, None, wall)
    if not is_document(received.body) and any(one.oracle for one in source.handshakes):
        why = "the body is no JSON object or array: its handshake would sign it for anybody"
        return Refused("unauthorized", _TOLD["unauthorized"], why=why)
    try:
        key = prove(source.auth.proofs, received, wall)
    except Unproven as mistake:
        later = RETRY_LATER if mistake.code == "no_live_key" else None
        told = _TOLD.get(mistake.code, mistake.why)
        return Refused(mistake.code, told, later, why=mistake.why)
    for one in source.handshakes:
        if meant(one, received):
            return answer(one, received, key, wall)
    if received.method != "POST":
        return Refused("handshake_invalid", "what this source asks of a handshake is missing")
    return None
