"""What cannot be read as YAML: where it stands, and what to do about it."""

import yaml

from hookpost.config.diagnostics import Mark, Report

DEEPEST = 32
"""Levels of maps and lists inside each other."""

_ADVICE = {
    "mapping values are not allowed in this context": (
        '": " cannot stand here; quote the text, or mend the indentation of this line or the last'
    ),
    "did not find expected key": (
        "no key can begin here; mend the indentation, or close the quote or bracket before"
    ),
    "did not find expected '-' indicator": "the list goes on with another indentation; align it",
    "could not find expected ':'": 'a key without ": " after it',
    "did not find expected ',' or ']'": "the list goes on without a comma, or lacks its ]",
    "did not find expected ',' or '}'": "the map goes on without a comma, or lacks its }",
    "did not find expected node content": "a value is missing here, or a bracket or comma is amiss",
    "did not find expected alphabetic or numeric character": (
        "* and & begin aliases and anchors; put the text in quotes"
    ),
    "block sequence entries are not allowed in this context": (
        "a list cannot begin here; write it on the next line, or in brackets"
    ),
    "found unknown escape character": (
        "a backslash in double quotes begins an escape; use single quotes, or write \\\\"
    ),
    "did not find expected <document start>": (
        "a key cannot begin here; align it with the keys before it"
    ),
    "found unexpected end of stream": "the file ends inside a quoted text; close the quote",
    "found character that cannot start any token": (
        "this character cannot begin a value; put the text in quotes"
    ),
    "exceeded maximum nesting depth": f"maps and lists are nested deeper than {DEEPEST} levels",
}


def tell(mistake: yaml.YAMLError, text: str, file: str, report: Report) -> None:
    """Report what made the parser stop in `text`."""
    if isinstance(mistake, yaml.MarkedYAMLError):
        _marked(mistake, text, file, report)
        return
    # a character that YAML does not take; the parser counts bytes
    offset = getattr(mistake, "position", 0)
    line, column = place_after(text.encode()[:offset].decode())
    character = getattr(mistake, "character", None)
    shown = f" (U+{character:04X})" if isinstance(character, int) else ""
    message = f"a control character{shown} cannot stand in YAML; remove it"
    report.error(Mark(file, line, column), (), "yaml-syntax", message)


def place_after(text: str) -> tuple[int, int]:
    """Line and column of what follows `text`, as the parser counts them: from 1, in characters."""
    lines = f"{text}.".splitlines()
    return len(lines), len(lines[-1])


def _marked(mistake: yaml.MarkedYAMLError, text: str, file: str, report: Report) -> None:
    place = mistake.problem_mark or mistake.context_mark
    mark = Mark(file, place.line + 1, place.column + 1) if place else Mark(file, 1, 1)
    problem = mistake.problem or "this is not YAML"
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    if "\t" in line[: mark.column] and not line[: mark.column].strip():
        report.error(mark, (), "tab", "a tab cannot indent; use spaces")
        return
    code = "nested-too-deep" if "nesting depth" in problem else "yaml-syntax"
    report.error(mark, (), code, _ADVICE.get(problem, problem))
