"""Whether the user that the daemon runs as may read what root, who checks, may read."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hookpost.config import material, resolution
from hookpost.config.diagnostics import Mark
from hookpost.config.diagnostics import Path as Key
from hookpost.config.draft import Draft

CODE = "unreadable-by-service"


def check(draft: Draft, user: str) -> None:
    """Warn of each file of the configuration that `user` may not read; asked by root only."""
    named: dict[Key, Path | None] = {key: material.place(draft, key) for key in draft.material}
    for name, file in resolution.secret_files(draft).items():
        named["secrets", name, "file"] = file
    files: list[tuple[Mark, Key, Path]]
    files = [(Mark(name, 1, 1), (), path) for name, path in draft.tree.files.items()]
    files += [(draft.mark(key), key, path) for key, path in named.items() if path is not None]
    try:
        with _acting_as(user):
            unreadable = [each for each in files if not _readable(each[2])]
    except (OSError, KeyError):
        return  # there is no such user, or nobody may become it here
    for mark, key, path in unreadable:
        message = (
            f"{path} may not be read by the user {user}, as whom the shipped unit runs; "
            f"chgrp {user} and chmod 640 it (directories: 750)"
        )
        draft.report.warning(mark, key, CODE, message)


def _readable(path: Path) -> bool:
    """Whether it can be opened; what is missing altogether is told elsewhere."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def _acting_as(user: str) -> Iterator[None]:
    """Have the rights of a user: then the kernel judges, with every directory on the way."""
    account = pwd.getpwnam(user)
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    try:
        os.setgroups(os.getgrouplist(user, account.pw_gid))
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)
