"""A POST written out as HTTP/1.1 has it (RFC 9112): one head, made cheaply, or refused."""

import re
from collections.abc import Sequence

from yarl import URL

from hookpost import __version__

FORMS_KEPT = 64  # sets of header names whose form is remembered
# `Accept-Encoding` is said outright: a receiver is not to compress what is kept as it came
_DEFAULTS = (
    ("User-Agent", f"hookpost/{__version__}"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "identity"),
)
_FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect", "te", "upgrade"}
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5: controls but the tab


class Writing:
    """How every POST to one URL begins. `keep`: whether connections are kept afterwards.

    `address` is told to a proxy, in the target's absolute form, where the name would be.
    """

    __slots__ = ("_forms", "_opening")

    def __init__(self, url: URL, *, keep: bool, address: str | None = None) -> None:
        target = url.raw_path_qs
        if address is not None:
            host = f"[{address}]" if ":" in address else address
            target = f"{url.scheme}://{host}:{url.port}{target}"
        opening = f"POST {target} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
        if not keep:
            opening += "Connection: close\r\n"
        self._opening = opening.replace("%", "%%")
        self._forms: dict[tuple[str, ...], str] = {}

    def head(self, headers: Sequence[tuple[str, str]], size: int) -> bytes:
        """The head of a POST of `size` bytes, with the defaults that `headers` does not replace.

        Raises ValueError for a name that is no token or that frames the request, and for a value
        with a control character: nothing may end a field early. Lone surrogates are left out.
        """
        names = tuple([name for name, _ in headers])
        form = self._forms.get(names)
        if form is None:
            form = self._form(names)
        values = [value for _, value in headers]
        text = "".join(values)
        if not (text.isascii() and text.isprintable()) and _FORBIDDEN.search(text):
            raise ValueError(f"a control character in the value of header {_culprit(headers)}")
        return (form % (*values, size)).encode("utf-8", "ignore")

    def _form(self, names: tuple[str, ...]) -> str:
        """The head with places for the values; the names are judged here, once."""
        given = {name.lower() for name in names}
        for name in names:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is not a header name")
            if name.lower() in _FRAMING:
                raise ValueError(f"header {name} is written by the transport: leave it out")
        lines = [f"{name}: {value}\r\n" for name, value in _DEFAULTS if name.lower() not in given]
        lines += [f"{name.replace('%', '%%')}: %s\r\n" for name in names]
        form = "".join((self._opening, *lines, "Content-Length: %d\r\n\r\n"))
        if len(self._forms) >= FORMS_KEPT:
            self._forms.clear()  # names of forwarded headers are a stranger's
        self._forms[names] = form
        return form


def _culprit(headers: Sequence[tuple[str, str]]) -> str:
    return next(name for name, value in headers if _FORBIDDEN.search(value))
