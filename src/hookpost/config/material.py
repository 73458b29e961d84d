"""Files that the configuration names and that belong to it: certificates, key sets.

Each is read when the file is checked, so that it is read again at every reload, and its text is
part of the configuration's fingerprint.
"""

from pathlib import Path as FilePath

from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.config.files import Unreadable, content


def place(draft: Draft, path: Path) -> FilePath | None:
    """The absolute path of the file that is named at `path`; None where none is, or unsoundly."""
    name = draft.part(*map(str, path[:-1])).get(str(path[-1]))
    return draft.tree.directory(draft.mark(path)) / name if isinstance(name, str) else None


def read(draft: Draft, path: Path, form: str) -> str | None:
    """The text of the file that is named at `path`, at most 1 MiB; `form` is what it should be.

    What is wrong with it is reported; None then, or where none is named.
    """
    file = place(draft, path)
    if file is None:
        return None
    try:
        text = content(file)
    except Unreadable as mistake:
        message = str(mistake)
        if mistake.code == "too-large":
            message = f"{file} is larger than 1 MiB, which no {form} is"
        elif mistake.code == "not-utf8":
            message = f"{file} is not text; write it as {form}"
        draft.error(path, mistake.code, message)
        return None
    draft.material[path] = text
    return text
