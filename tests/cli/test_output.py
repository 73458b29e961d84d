"""What commands print."""

import io

import pytest

from hookpost.cli import output


def test_a_table_is_as_wide_as_its_widest_cell() -> None:
    out = io.StringIO()
    output.table([{"name": "crm", "n": 1}, {"name": "ledger", "n": None}], ("name", "n"), out)
    assert out.getvalue() == "NAME    N\ncrm     1\nledger  -\n"


def test_dotted_columns_reach_into_members() -> None:
    out = io.StringIO()
    output.table([{"error": {"kind": "timeout"}}, {"error": None}], ("error.kind",), out)
    assert out.getvalue() == "KIND\ntimeout\n-\n"


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\r\nb", "a\u202eb", "a\u2028b"])
def test_control_and_bidi_characters_of_strangers_are_escaped(text: str) -> None:
    shown = output.printable(text)
    assert shown.isprintable()
    assert shown.startswith("a")
    assert shown.endswith("b")


def test_lines_of_json_hold_one_record_each(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([{"a": 1}, {"a": "ü"}], ("a",), "jsonl")
    assert capsys.readouterr().out == '{"a": 1}\n{"a": "ü"}\n'


def test_a_record_shows_members_indented(capsys: pytest.CaptureFixture[str]) -> None:
    output.record({"id": 1, "error": {"kind": "dns"}, "attempts": [{"n": 1}]}, "table")
    assert capsys.readouterr().out == "id:       1\nerror:\n  kind: dns\nattempts 1:\n  n: 1\n"


def test_off_a_terminal_a_destructive_verb_needs_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert not output.confirmed("Purge 3?", yes=False)
    assert "--yes" in capsys.readouterr().err
    assert output.confirmed("Purge 3?", yes=True)
