"""One record = one line, on stderr and nowhere else; `configure` may be called again at any time.

A call site says `log.info("attempt.finished", extra={"fields": {"endpoint": name, …}})`.
"""

import logging
import os
import sys
from collections.abc import Mapping

from hookpost.logs.lines import Form, journal_form, json_form, text_form
from hookpost.logs.writer import LineHandler, Stream

__all__ = ["chosen_format", "close", "configure", "flush"]


def configure(
    level: str = "info",
    format: str = "auto",
    stream: Stream | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send every record to `stream` (default: stderr) as one line.

    `level` is debug, info, warning or error and holds for Hookpost's own records; other libraries
    are heard from warning on. `format` is auto, text, json or journal. Called again, it changes
    level and form of what is in place; nothing waiting is lost. Raises ValueError for other words.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None or level != level.lower() or level == "notset":
        raise ValueError(f"log level {level!r} is unknown: use debug, info, warning or error")
    root = logging.getLogger()
    handler = _current(root)
    out: Stream = stream or (handler.stream if handler is not None else sys.stderr)
    form = _form(format, out, os.environ if environ is None else environ)
    _make_cheap()
    if handler is None or handler.stream is not out:
        close()
        root.addHandler(LineHandler(out, form))
    else:
        handler.form = form
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("hookpost").setLevel(number)


def chosen_format(stream: Stream, environ: Mapping[str, str]) -> str:
    """What `auto` means: the journal's form under the journal, text on a terminal, else JSON."""
    try:
        descriptor = stream.fileno()
        status = os.fstat(descriptor)
    except (OSError, ValueError, AttributeError):
        return "json"
    if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    return "text" if os.isatty(descriptor) else "json"


def flush() -> None:
    """Wait up to two seconds until every line is written."""
    handler = _current(logging.getLogger())
    if handler is not None:
        handler.flush()


def close() -> None:
    """Write what waits and take the handler away; at exit this happens by itself."""
    root = logging.getLogger()
    handler = _current(root)
    if handler is not None:
        root.removeHandler(handler)
        handler.close()


def _form(format_name: str, stream: Stream, environ: Mapping[str, str]) -> Form:
    name = chosen_format(stream, environ) if format_name == "auto" else format_name
    match name:
        case "text":
            colour = chosen_format(stream, {}) == "text" and not environ.get("NO_COLOR")
            return text_form(colour=colour)
        case "json":
            return json_form()
        case "journal":
            return journal_form()
        case _:
            raise ValueError(f"log format {name!r} is unknown: use auto, text, json or journal")


def _current(root: logging.Logger) -> LineHandler | None:
    return next((each for each in root.handlers if isinstance(each, LineHandler)), None)


def _make_cheap() -> None:
    """No caller, thread or process is looked up: no form shows them, and they cost half a line."""
    logging._srcfile = None
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
