"""gateway.yaml → a frozen Config, or every mistake at once, each with its place and its remedy."""

from hookpost.config.diagnostics import Diagnostic, Severity, render
from hookpost.config.lenient import lenient_admin_socket, lenient_database, why_unread
from hookpost.config.loading import ConfigError, Loaded, load
from hookpost.config.restart import restart_only_changes
from hookpost.config.schema import text as schema_text
from hookpost.config.show import show as shown

__all__ = [
    "ConfigError",
    "Diagnostic",
    "Loaded",
    "Severity",
    "lenient_admin_socket",
    "lenient_database",
    "load",
    "render",
    "restart_only_changes",
    "schema_text",
    "shown",
    "why_unread",
]
