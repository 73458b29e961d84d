"""The road of a file: read → parse → schema → semantics → secrets → Config."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hookpost.clock import SystemClock
from hookpost.config import (
    advice,
    diagnostics,
    endpoints,
    event_types,
    files,
    mismatches,
    places,
    policies,
    presets,
    references,
    resolution,
    service_user,
    sources,
    subscriptions,
    tls,
)
from hookpost.config.diagnostics import Diagnostic, Report, Severity
from hookpost.config.draft import Draft
from hookpost.core.errors import GatewayError
from hookpost.core.settings import Config

HASHED = 12
"""Hexadecimal digits of a configuration's hash: 48 bits, exact in a float."""

EXITS = {"no-such-file": 66, "not-a-file": 66, "no-permission": 77}


class ConfigError(GatewayError):
    """A configuration with mistakes, for callers that want an exception."""

    def __init__(self, found: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in found))
        self.diagnostics = found


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a file came to. `config` is None exactly if there are errors.

    `merged` are the sound values of all files as written and `secret_files` the absolute paths of
    secrets in files, both for `config show`; `files` are all files read.
    """

    config: Config | None
    diagnostics: tuple[Diagnostic, ...]
    merged: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secret_files: Mapping[str, Path] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    lines: Mapping[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The findings that refuse the file."""
        return tuple(item for item in self.diagnostics if item.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The findings that only `--strict` refuses."""
        return tuple(item for item in self.diagnostics if item.severity is Severity.WARNING)

    @property
    def exit_code(self) -> int:
        """0, 78 for mistakes, 66 where the main file is not there, 77 where it is not readable."""
        if not self.errors:
            return 0
        first = self.errors[0]
        return EXITS.get(first.code, 78) if first.line == 0 and self.config is None else 78

    def render(self, form: str = "text", *, context: bool = False) -> str:
        """All findings as `text`, `json` or `github`; with `context` source lines and carets."""
        lines = self.lines if context else None
        return diagnostics.render(self.diagnostics, form, lines=lines)

    def sound(self) -> Config:
        """The configuration. Raises ConfigError if there are mistakes."""
        if self.config is None:
            raise ConfigError(self.errors)
        return self.config


def load(
    path: Path,
    *,
    secrets: Literal["resolve", "skip"] = "resolve",
    environ: Mapping[str, str] | None = None,
    wall: float | None = None,
    reader: str | None = None,
) -> Loaded:
    """Load a file. Never raises for what is in it, or for its absence.

    `secrets="skip"` looks no secret up, nor the key of a certificate: values are empty then, the
    listener has no TLS, and `hash` covers the file alone. `wall` (UNIX seconds, default: now) is
    when keys must be live. `reader` is a user that has to be able to read all files; root asks.
    """
    report = Report()
    tree = files.load(path, report)
    draft: Draft | None = None
    if tree.root is not None:
        draft = _checked(tree, report, os.environ if environ is None else environ, wall)
        if secrets == "resolve":
            resolution.resolve_all(draft)
            tls.check(draft)
            tls.check_endpoints(draft)
        else:
            resolution.unresolved(draft)
        endpoints.check(draft)
        advice.give(draft)
        if reader is not None:
            service_user.check(draft, reader)
    config = None
    if draft is not None and not report.failed:
        config = _built(draft, path)
    return Loaded(
        config=config,
        diagnostics=report.sorted(),
        merged=draft.data if draft is not None else {},
        secret_files=resolution.secret_files(draft) if draft is not None else {},
        files=tuple(tree.files.values()),
        lines=tree.lines,
    )


def _checked(
    tree: files.Tree, report: Report, environ: Mapping[str, str], wall: float | None
) -> Draft:
    """Schema and semantics, all but what needs the secrets' values."""
    assert tree.root is not None  # noqa: S101 - load asked
    data, misspelled = mismatches.check(tree.root, report)
    draft = Draft(
        tree=tree,
        root=tree.root,
        data=data,
        report=report,
        environ=environ,
        wall=SystemClock().wall() if wall is None else wall,
        misspelled=misspelled,
    )
    presets.apply(draft)
    references.check(draft)
    places.check(draft)
    resolution.check_origins(draft)
    policies.check_retry(draft)
    policies.check_breakers(draft)
    policies.check_egress(draft)
    sources.check(draft)
    sources.compile_expressions(draft)
    event_types.check(draft)
    return draft


def _built(draft: Draft, path: Path) -> Config:
    limits = policies.rate_limits(draft.data)
    named = endpoints.Named(
        retry=policies.retry_policies(draft.data),
        rate=limits,
        breaker=policies.breakers(draft.data),
        egress=policies.egress_policies(draft.data),
    )
    return Config(
        path=path,
        listen=places.listen(draft),
        storage=places.storage(draft),
        retention=places.retention(draft),
        secrets={name: secret for name, secret in draft.secrets.items() if secret is not None},
        sources=sources.build(draft, limits),
        endpoints=endpoints.build(draft, named),
        subscriptions=subscriptions.build(draft),
        alerts=policies.alerts(draft.part("alerts")),
        logging=places.logging(draft),
        hash=_hash(draft),
        fingerprint=_fingerprint(draft),
    )


def _hash(draft: Draft) -> str:
    """The same for files that say the same, whatever their layout.

    It is published, so the secrets' values are not in it: whoever knows the file could try guesses.
    """
    return _digest(draft).hexdigest()[:HASHED]


def _fingerprint(draft: Draft) -> str:
    """The same for files that say the same with the same secrets and material; never published."""
    digest = _digest(draft)
    for name, secret in sorted(draft.secrets.items()):
        value = secret.value if secret is not None else b""
        digest.update(f"\n{name}:{len(value)}:".encode() + value)
    for path, text in sorted(draft.material.items(), key=lambda item: str(item[0])):
        digest.update(f"\n{path}:{len(text)}:{text}".encode())
    return digest.hexdigest()


def _digest(draft: Draft) -> "hashlib._Hash":
    kept = {
        key: list(value.items()) if key == "subscriptions" else value  # their order has meaning
        for key, value in draft.data.items()
        if not key.startswith("x-") and key != "include"
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
