"""JSON as RFC 8259 has it, judged from its grammar alone: nothing of Python's reader is used.

Tells where the members of an outermost object stand, and how deep the text is nested.
"""

import re
from dataclasses import dataclass, field

_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_SCALAR = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null")


class NotJson(Exception):
    """The text is not JSON; says at which byte."""


@dataclass(slots=True)
class Judged:
    """`members` are the outermost object's: raw name → from where to where its value goes."""

    depth: int
    is_object: bool
    members: list[tuple[bytes, int, int]] = field(default_factory=list)


def judge(text: bytes) -> Judged:
    """Judge a whole text. Raises NotJson, for what is not UTF-8 too."""
    try:
        text.decode("utf-8", "strict")
    except UnicodeDecodeError as mistake:
        raise NotJson(mistake.start) from None
    return _Judge(text).whole()


class _Judge:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0
        self.open: list[bytes] = []  # the brackets that are to be closed
        self.deepest = 0
        self.members: list[tuple[bytes, int, int]] = []
        self._name = b""
        self._start = 0

    def whole(self) -> Judged:
        self._space()
        is_object = self.text[self.at : self.at + 1] == b"{"
        self._value()
        while self.open:
            self._step()
        self._space()
        if self.at != len(self.text):
            raise NotJson(self.at)
        return Judged(self.deepest, is_object, self.members)

    def _space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _take(self, wanted: bytes) -> bool:
        self._space()
        if self.text.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def _need(self, wanted: bytes) -> None:
        if not self._take(wanted):
            raise NotJson(self.at)

    def _string(self) -> bytes:
        self._space()
        found = _STRING.match(self.text, self.at)
        if found is None:
            raise NotJson(self.at)
        self.at = found.end()
        return found[0]

    def _value(self) -> None:
        """A scalar, or the beginning of a list or an object and its first value."""
        while True:
            self._space()
            if len(self.open) == 1:
                self._start = self.at
            opening = self.text[self.at : self.at + 1]
            if opening not in (b"{", b"["):
                break
            self.at += 1
            self.open.append(b"}" if opening == b"{" else b"]")
            self.deepest = max(self.deepest, len(self.open))
            if self._take(self.open[-1]):
                self._closed()
                return
            self._before_value()
        if opening == b'"':
            self._string()
        else:
            found = _SCALAR.match(self.text, self.at)
            if found is None:
                raise NotJson(self.at)
            self.at = found.end()
        self._ended()

    def _before_value(self) -> None:
        if self.open[-1] == b"}":
            name = self._string()
            self._need(b":")
            if len(self.open) == 1:
                self._name = name

    def _step(self) -> None:
        """What may come after a value: a comma and another one, or the end of what is around it."""
        if self._take(self.open[-1]):
            self._closed()
            return
        self._need(b",")
        self._before_value()
        self._value()

    def _closed(self) -> None:
        self.open.pop()
        self._ended()

    def _ended(self) -> None:
        if self.open == [b"}"]:
            self.members.append((self._name, self._start, self.at))
