"""Reload: everything that can fail comes first and touches nothing; then one assignment.

read → parse → schema → semantics → secrets → compile → endpoint rows (one transaction) → commit →
retire. A mistake, a restart-only key or a storage error before the commit changes nothing. Reloads
that are asked for while one runs are answered by one more, together.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from hookpost.clock import Clock
from hookpost.config import Diagnostic, Loaded, restart_only_changes
from hookpost.core.alerts import Operational
from hookpost.core.errors import OutboxError
from hookpost.core.model import EndpointRecord
from hookpost.core.payload_links import Links
from hookpost.core.routing import Routes
from hookpost.core.settings import Config
from hookpost.services.alerts import NOBODY, Teller
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import EndpointSpec, Outbox

log = logging.getLogger("hookpost.reload")


class Verdict(StrEnum):
    """How a reload ended; a metric label."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    INVALID = "invalid"
    RESTART_REQUIRED = "restart_required"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a reload came to: `changes` are lines for people, `mistakes` rendered diagnostics.

    `first` is the first mistake without any value of the file: it may leave the machine.
    """

    verdict: Verdict
    old_hash: str
    new_hash: str
    changes: Sequence[str] = ()
    mistakes: Sequence[str] = ()
    warnings: Sequence[str] = field(default=())
    first: str | None = None

    def shown(self) -> dict[str, Any]:
        """The report as the admin socket answers it."""
        return {
            "result": self.verdict.value,
            "oldHash": self.old_hash,
            "newHash": self.new_hash,
            "changes": list(self.changes),
            "mistakes": list(self.mistakes),
            "warnings": list(self.warnings),
        }


class Part(Protocol):
    """Something that lives by the configuration; `apply` cannot fail."""

    def apply(self, snapshot: Snapshot) -> None:
        """See the new snapshot from now on."""
        ...


class Observer(Protocol):
    """Who counts reloads."""

    def reloaded(self, result: str, config_hash: str, at: float) -> None:
        """One reload ended; `config_hash` is the one now in force."""
        ...


def endpoint_specs(config: Config) -> list[EndpointSpec]:
    """What the outbox must know of a configuration's endpoints."""
    return [
        EndpointSpec(
            name=endpoint.name,
            on_remove=endpoint.on_remove,
            paused=endpoint.paused,
            max_pending=endpoint.max_pending,
            renamed_from=endpoint.renamed_from,
            payload=endpoint.payload.value,
        )
        for endpoint in config.endpoints.values()
    ]


def snapshot_of(
    config: Config, records: Mapping[str, EndpointRecord], links: Links | None = None
) -> Snapshot:
    """A configuration with its endpoint rows and compiled routes."""
    return Snapshot(
        config=config,
        endpoint_ids={name: record.id for name, record in records.items()},
        routes=Routes(config.subscriptions),
        links=links,
    )


class Reloader:
    """Reloads one daemon's configuration, one at a time."""

    def __init__(
        self,
        current: Current,
        load: Callable[[], Loaded],
        outbox: Outbox,
        parts: Sequence[Part],
        observer: Observer,
        clock: Clock,
        alerts: Teller = NOBODY,
        links: Callable[[Config], Links | None] = lambda _: None,
    ) -> None:
        """`links` is asked in a thread what a configuration makes links by; it may refuse."""
        self._current = current
        self._load = load
        self._outbox = outbox
        self._parts = parts
        self._observer = observer
        self._clock = clock
        self._alerts = alerts
        self._links = links
        self._running = asyncio.Lock()
        self._waiting: asyncio.Task[Report] | None = None

    async def reload(self) -> Report:
        """Reload once; callers that come while one runs share the next."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._next())
        return await asyncio.shield(self._waiting)

    async def _next(self) -> Report:
        async with self._running:
            self._waiting = None
            return await self._reload()

    async def _reload(self) -> Report:
        old = self._current.snapshot.config
        started = self._clock.monotonic()
        report = await self._report(old)
        took = round(self._clock.monotonic() - started, 3)
        in_force = self._current.snapshot.config.hash
        self._observer.reloaded(report.verdict.value, in_force, self._clock.wall())
        _log(report, took)
        self._tell(report)
        return report

    def _tell(self, report: Report) -> None:
        """Put the gateway's own event of a reload: mistakes by their place and kind alone."""
        match report.verdict:
            case Verdict.UNCHANGED:
                return
            case Verdict.APPLIED:
                data: dict[str, Any] = {
                    "hash": report.new_hash,
                    "oldHash": report.old_hash,
                    "changes": len(report.changes),
                }
                self._alerts.tell(Operational.CONFIG_RELOADED, data)
            case refused:
                data = {
                    "hash": report.old_hash,
                    "result": refused.value,
                    "errors": len(report.mistakes),
                    "first": report.first,
                }
                self._alerts.tell(Operational.CONFIG_REJECTED, data)

    async def _report(self, old: Config) -> Report:
        try:
            loaded = await asyncio.to_thread(self._load)
        except Exception as error:  # a mistake of ours must not cost the configuration in force
            log.exception("config.unread")
            words = f"the file could not be judged: {type(error).__name__}: {error}"
            return _failed(old, old.hash, words)
        return await self._judged(old, loaded)

    async def _judged(self, old: Config, loaded: Loaded) -> Report:
        config = loaded.config
        warnings = [mistake.render() for mistake in loaded.warnings]
        if config is None:
            return self._refused(old, loaded.errors)
        keys = restart_only_changes(old, config)
        if keys:
            return Report(
                verdict=Verdict.RESTART_REQUIRED,
                old_hash=old.hash,
                new_hash=config.hash,
                mistakes=[
                    f"{key} changes only with a restart; nothing was applied" for key in keys
                ],
                warnings=warnings,
                first=f"{keys[0]} changes only with a restart",
            )
        if config.fingerprint == old.fingerprint:
            return Report(
                verdict=Verdict.UNCHANGED, old_hash=old.hash, new_hash=old.hash, warnings=warnings
            )
        try:
            links = await asyncio.to_thread(self._links, config)
        except OutboxError as error:
            return _failed(old, config.hash, str(error))
        try:
            records = await self._outbox.apply_endpoints(endpoint_specs(config), self._clock.now())
        except OutboxError as error:
            return _failed(old, config.hash, f"the endpoints could not be stored: {error}")
        self._apply(snapshot_of(config, records, links))
        return Report(
            verdict=Verdict.APPLIED,
            old_hash=old.hash,
            new_hash=config.hash,
            changes=changes(old, config),
            warnings=warnings,
        )

    def _refused(self, old: Config, errors: Sequence[Diagnostic]) -> Report:
        return Report(
            verdict=Verdict.INVALID,
            old_hash=old.hash,
            new_hash=old.hash,
            mistakes=[mistake.render() for mistake in errors],
            first=errors[0].place if errors else None,
        )

    def _apply(self, snapshot: Snapshot) -> None:
        self._current.snapshot = snapshot
        for part in self._parts:
            part.apply(snapshot)


def _failed(old: Config, new_hash: str, words: str) -> Report:
    return Report(
        verdict=Verdict.ERROR,
        old_hash=old.hash,
        new_hash=new_hash,
        mistakes=[f"{words}; nothing was applied"],
    )


def changes(old: Config, new: Config) -> list[str]:
    """What differs, a line each: `endpoints.crm: changed`."""
    renamed = _renamed(old, new)
    lines = [f"endpoints.{name}: renamed from {former}" for name, former in renamed.items()]
    known = {name: each for name, each in old.endpoints.items() if name not in renamed.values()}
    for name, former in renamed.items():
        now = new.endpoints[name]
        known[name] = replace(old.endpoints[former], name=name, renamed_from=now.renamed_from)
    for kind, before, after in (
        ("sources", old.sources, new.sources),
        ("endpoints", known, new.endpoints),
        ("subscriptions", _by_name(old), _by_name(new)),
        ("secrets", old.secrets, new.secrets),
    ):
        assert isinstance(before, Mapping)  # noqa: S101 - tells mypy what the four have in common
        lines += _differences(kind, before, after)
    for kind in ("retention", "listen", "alerts", "logging"):
        if getattr(old, kind) != getattr(new, kind):
            lines.append(f"{kind}: changed")
    return lines


def _renamed(old: Config, new: Config) -> dict[str, str]:
    """The endpoints that another name leads on, and that name."""
    return {
        name: former
        for name, endpoint in new.endpoints.items()
        if (former := endpoint.renamed_from)
        and former in old.endpoints
        and name not in old.endpoints
    }


def _differences(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    lines = [f"{kind}.{name}: removed" for name in before if name not in after]
    for name, value in after.items():
        if name not in before:
            lines.append(f"{kind}.{name}: added")
        elif before[name] != value:
            lines.append(f"{kind}.{name}: changed")
    return lines


def _by_name(config: Config) -> dict[str, Any]:
    return {subscription.name: subscription for subscription in config.subscriptions}


def _log(report: Report, seconds: float) -> None:
    fields: dict[str, Any] = {
        "result": report.verdict.value,
        "old_hash": report.old_hash,
        "new_hash": report.new_hash,
        "seconds": seconds,
    }
    if report.verdict in (Verdict.APPLIED, Verdict.UNCHANGED):
        fields["changes"] = len(report.changes)
        log.info("config.reloaded", extra={"fields": fields})
        for change in report.changes:
            log.info("config.changed", extra={"fields": {"change": change}})
    else:
        log.error("config.rejected", extra={"fields": {**fields, "mistakes": len(report.mistakes)}})
        for mistake in report.mistakes:
            log.error("config.mistake", extra={"fields": {"mistake": mistake}})
    for warning in report.warnings:
        log.warning("config.warning", extra={"fields": {"warning": warning}})
