"""What a diagnosis is about."""

from dataclasses import dataclass
from urllib.parse import parse_qs

from hookpost.core.model import Format
from hookpost.core.received import Received
from hookpost.core.settings import Config, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request to one source of a configuration, judged at wall-clock time `wall`."""

    config: Config
    source: Source
    received: Received
    wall: float

    @property
    def tokens(self) -> list[str]:
        """Bearer tokens of the query, where the format has them there."""
        if self.source.format is not Format.CLOUDEVENTS:
            return []
        return parse_qs(self.received.query, keep_blank_values=True).get("access_token", [])
