"""The three listeners' sockets: bound or passed in, all or none."""

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from hookpost.core.settings import Address, Listen
from hookpost.daemon.sockets import CannotListen, listening, remove

log = logging.getLogger("hookpost.daemon")

NAMES = ("ingest", "ops", "admin")


@dataclass(slots=True)
class Face:
    """One listening socket, and whether its file is ours to remove."""

    sock: socket.socket
    address: Address
    passed: bool

    @property
    def shown(self) -> str:
        """Where it really listens: the kernel's port, the socket's path."""
        name = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            return f"unix:{name}"
        return (
            f"[{name[0]}]:{name[1]}"
            if self.sock.family == socket.AF_INET6
            else "{}:{}".format(*name[:2])
        )


def open_faces(listen: Listen, passed: Mapping[str, socket.socket]) -> dict[str, Face]:
    """All three, or CannotListen and none. A passed socket is used instead of binding."""
    faces: dict[str, Face] = {}
    try:
        for name in NAMES:
            settings = getattr(listen, name)
            if name in passed:
                faces[name] = Face(passed[name], settings.address, passed=True)
                _compare(name, faces[name])
            else:
                sock = listening(name, settings.address, settings.mode)
                faces[name] = Face(sock, settings.address, passed=False)
    except CannotListen:
        close_faces(faces)
        raise
    return faces


def close_faces(faces: Mapping[str, Face]) -> None:
    """Close what is open and take our UNIX sockets' files away."""
    for face in faces.values():
        face.sock.close()
        if not face.passed:
            remove(face.address)


def _compare(name: str, face: Face) -> None:
    if face.shown != str(face.address):
        fields = {"listener": name, "passed": face.shown, "configured": str(face.address)}
        log.warning("socket.differs", extra={"fields": fields})
