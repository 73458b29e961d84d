"""The verbs on the database of a stopped daemon, by a file that need not be valid."""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.rig import CONFIG, CommandLine, fill


@pytest.fixture
def hookpost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(tmp_path, capsys)
    line.file.write_text(CONFIG)
    fill(line.database)
    return line


def test_dead_letters_are_listed_newest_first_as_a_table(hookpost: CommandLine) -> None:
    ran = hookpost("dead-letters", "list")
    assert ran.code == 0
    head, *lines = ran.out.splitlines()
    assert head.split()[:3] == ["ID", "ENDPOINT", "REASON"]
    assert [line.split()[:3] for line in lines] == [
        ["2", "audit", "exhausted"], ["1", "crm", "exhausted"],
    ]  # fmt: skip
    assert str(hookpost.database) in ran.err
    assert "no daemon is running" in ran.err


def test_json_is_one_document_and_jsonl_one_record_a_line(hookpost: CommandLine) -> None:
    ran = hookpost("dead-letters", "list", "-o", "json")
    assert [each["originalEvent"]["eventId"] for each in ran.json] == ["evt_2", "evt_1"]
    assert ran.json[0]["error"]["kind"] == "http_5xx"
    assert ran.json[0]["status"] == "failed"
    lines = hookpost("dead-letters", "list", "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [2, 1]


def test_one_is_shown_with_event_and_attempts_and_a_strangers_bytes_escaped(
    hookpost: CommandLine,
) -> None:
    shown = hookpost("dead-letters", "show", "1", "-o", "json").json
    assert shown["originalEvent"]["data"] == {"amount": 1200}
    assert shown["recordedAttempts"][0]["status"] == 503
    table = hookpost("dead-letters", "show", "1")
    assert "\x1b" not in table.out
    assert "\\x1b[31mred" in table.out


def test_deliveries_are_listed_by_state_and_endpoint(hookpost: CommandLine) -> None:
    def ids(*options: str) -> list[int]:
        return [each["id"] for each in hookpost("deliveries", "list", *options, "-o", "json").json]

    assert ids() == [5, 4, 3, 2, 1]
    assert ids("--state", "pending") == [4]
    assert ids("--state", "pending,parked") == [5, 4]
    assert ids("--endpoint", "crm", "--state", "delivered") == [3]
    assert ids("--event", "evt_2") == [2]
    assert ids("--limit", "2") == [5, 4]
    assert ids("--after", "2999-01-01T00:00:00Z") == []


def test_a_list_longer_than_a_page_is_read_to_its_limit(
    hookpost: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookpost.cli.records.PAGE", 2)
    assert len(hookpost("deliveries", "list", "--limit", "5", "-o", "jsonl").out.splitlines()) == 5


def test_a_dry_run_only_counts(hookpost: CommandLine) -> None:
    ran = hookpost("dead-letters", "replay", "--all", "--dry-run")
    assert (ran.code, ran.out) == (0, "2 would be replayed\n")
    assert len(hookpost("dead-letters", "list", "-o", "json").json) == 2


def test_off_a_terminal_a_bulk_verb_wants_yes(hookpost: CommandLine) -> None:
    for verb in ("replay", "purge"):
        ran = hookpost("dead-letters", verb, "--all")
        assert ran.code == 1
        assert "give --yes" in ran.err
    assert len(hookpost("dead-letters", "list", "-o", "json").json) == 2


def test_on_a_terminal_the_question_is_asked_and_no_means_no(
    hookpost: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def __init__(self, says: str) -> None:
            self.says = says

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return self.says + "\n"

    monkeypatch.setattr("sys.stdin", Terminal(""))
    ran = hookpost("dead-letters", "purge", "--endpoint", "crm")
    assert ran.code == 1
    assert "Purge 1 dead letter? [y/N]" in ran.err
    monkeypatch.setattr("sys.stdin", Terminal("y"))
    assert hookpost("dead-letters", "purge", "--endpoint", "crm").out == "1 purged\n"


@pytest.mark.parametrize(("words", "all_of_them"), [(("dead-letters",), 2), (("deliveries",), 5)])
@pytest.mark.parametrize("style", ["table", "jsonl"])
def test_a_list_that_stops_at_its_limit_says_so(
    hookpost: CommandLine, words: tuple[str, ...], all_of_them: int, style: str
) -> None:
    limit = all_of_them - 1
    ran = hookpost(*words, "list", "--limit", str(limit), "-o", style)
    assert f"{limit} shown; more with --limit N\n" in ran.err
    assert len(ran.out.splitlines()) == limit + (style == "table")
    assert "shown" not in hookpost(*words, "list", "--limit", str(all_of_them)).err
    assert "shown" not in hookpost(*words, "list").err


def test_replay_makes_them_pending_in_a_new_round(hookpost: CommandLine) -> None:
    ran = hookpost("dead-letters", "replay", "--endpoint", "crm", "--yes")
    assert (ran.code, ran.out) == (0, "1 replayed\n")
    assert [each["id"] for each in hookpost("dead-letters", "list", "-o", "json").json] == [2]
    shown = hookpost("dead-letters", "show", "1", "-o", "json").json
    assert shown["status"] == "replayed"
    assert shown["replayedAt"] is not None
    ran = hookpost("dead-letters", "replay", "1")
    assert ran.code == 1
    assert "delivery 1" in ran.err


def test_purge_deletes_for_good(hookpost: CommandLine) -> None:
    ran = hookpost("dead-letters", "purge", "--all", "--yes", "-o", "json")
    assert ran.json == {"count": 2, "verb": "purged", "refused": []}
    ran = hookpost("dead-letters", "show", "1")
    assert ran.code == 1
    assert "delivery 1: there is none" in ran.err


def test_parked_deliveries_are_moved_to_another_endpoint(hookpost: CommandLine) -> None:
    ran = hookpost("deliveries", "retry", "--endpoint", "gone", "--to", "audit", "--yes")
    assert (ran.code, ran.out) == (0, "1 retried\n")
    (moved,) = hookpost("deliveries", "list", "--event", "evt_5", "-o", "json").json
    assert (moved["endpoint"], moved["state"]) == ("audit", "pending")


def test_cancel_gives_up_what_is_not_final(hookpost: CommandLine) -> None:
    assert hookpost("deliveries", "cancel", "--all", "--dry-run").out == "4 would be cancelled\n"
    assert hookpost("deliveries", "cancel", "4", "--yes").out == "1 cancelled\n"
    ran = hookpost("deliveries", "cancel", "3", "--yes")
    assert ran.code == 1
    assert "delivery 3" in ran.err


def test_each_number_that_was_named_in_vain_is_told_and_is_exit_code_1(
    hookpost: CommandLine,
) -> None:
    looked = hookpost("dead-letters", "replay", "1", "3", "77", "--dry-run")
    assert (looked.code, looked.out) == (1, "1 would be replayed\n")
    assert "delivery 77: there is none" in looked.err
    ran = hookpost("dead-letters", "replay", "1", "3", "5", "77")
    assert (ran.code, ran.out) == (1, "1 replayed\n")
    assert ran.err.splitlines()[1:] == [
        "delivery 3: is delivered already",
        "delivery 5: is parked: endpoint 'gone' left the configuration; configure it again, "
        "or move it: hookpost deliveries retry --to ENDPOINT",
        "delivery 77: there is none; it may have been purged",
    ]
    ran = hookpost("deliveries", "retry", "4", "2")
    assert (ran.code, ran.out) == (1, "1 retried\n")
    assert "delivery 2: is dead; replay it" in ran.err
    ran = hookpost("deliveries", "cancel", "4", "3", "--yes", "-o", "json")
    assert ran.code == 1
    assert ran.json["refused"] == [{"id": 3, "why": "is delivered already"}]
    ran = hookpost("deliveries", "retry", "5", "1", "--to", "audit")
    assert (ran.code, ran.out) == (1, "1 retried\n")
    assert "delivery 1: waits for endpoint 'crm'" in ran.err


def test_numbers_that_are_all_done_are_exit_code_0(hookpost: CommandLine) -> None:
    assert hookpost("dead-letters", "replay", "1", "2", "2").code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("deliveries", "retry", "--state", "parked", "--yes"), 1, ("parked", "--to")),
        (("dead-letters", "show", "77"), 1, ("77",)),
        (("dead-letters", "show", "3"), 1, ("3", "delivered", "hookpost deliveries show 3")),
        (("deliveries", "list", "--endpoint", "crn"), 1, ("crn", 'did you mean "crm"')),
        (("deliveries", "list", "--state", "stuck"), 64, ("stuck", "pending")),
        (("dead-letters", "list", "--reason", "bored"), 64, ("bored", "exhausted")),
        (("deliveries", "list", "--limit", "0"), 64, ("--limit", "0")),
        (("deliveries", "list", "--after", "yesterday"), 64, ("yesterday", "2026-")),
        (("deliveries", "list", "--after", "2026-01-01T00:00:00"), 64, ("offset", "Z")),
        (("dead-letters", "replay"), 64, ("--all", "--endpoint")),
        (("dead-letters", "replay", "1", "--endpoint", "crm"), 64, ("numbers", "not both")),
        (("dead-letters", "purge", "--all", "1", "--yes"), 64, ("--all",)),
        (("deliveries", "retry", "--endpoint", "gone", "--to", "gone", "--yes"), 1, ("gone",)),
        (("endpoints", "list"), 69, ("no daemon answers at", "--socket")),
        (("status",), 69, ("no daemon answers at", "--socket")),
        (("bogus",), 64, ("bogus",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_an_error_names_the_thing_and_the_remedy(
    hookpost: CommandLine, words: tuple[str, ...], code: int, told: tuple[str, ...]
) -> None:
    ran = hookpost(*words)
    assert ran.code == code, ran.err
    for each in told:
        assert each in ran.err
    assert "Traceback" not in ran.err


@contextlib.contextmanager
def held(database: Path, holder: bytes) -> Iterator[None]:
    """The database while somebody else has it."""
    lock = os.open(database.with_name("outbox.db.lock"), os.O_RDWR | os.O_TRUNC)
    try:
        os.write(lock, holder)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@pytest.mark.parametrize(
    ("holder", "told"), [(b"4242\n", "process 4242 holds"), (b"", "another process holds")]
)
@pytest.mark.parametrize("words", [("dead-letters", "list"), ("deliveries", "cancel", "4")])
def test_a_daemon_that_lives_without_its_socket_is_told_in_one_line_and_is_exit_code_75(
    hookpost: CommandLine, holder: bytes, told: str, words: tuple[str, ...]
) -> None:
    with held(hookpost.database, holder):
        ran = hookpost(*words)
    path = hookpost.folder / "run" / "admin.sock"
    assert (ran.code, ran.out) == (75, "")
    assert ran.err == (
        f"hookpost: {told} {hookpost.database}, so a daemon seems to run, but its admin socket "
        f"{path} is not there; name its socket (--socket PATH or HOOKPOST_SOCKET), "
        "or restart the daemon\n"
    )


def test_a_socket_that_is_there_and_dead_is_told_apart(hookpost: CommandLine) -> None:
    path = hookpost.folder / "run" / "admin.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with held(hookpost.database, b"4242\n"):
        ran = hookpost("dead-letters", "list")
    assert ran.code == 75
    assert f"its admin socket {path} does not answer;" in ran.err
    assert "no daemon is running" not in ran.err


def test_that_no_daemon_runs_is_said_once_and_first(hookpost: CommandLine) -> None:
    ran = hookpost("dead-letters", "purge", "--all", "--yes")
    assert (ran.code, ran.out) == (0, "2 purged\n")
    assert ran.err == f"hookpost: no daemon is running; working on {hookpost.database}\n"


def test_no_database_is_said_and_none_is_made(hookpost: CommandLine) -> None:
    hookpost.file.write_text(CONFIG.replace("outbox.db", "nowhere.db"))
    ran = hookpost("dead-letters", "list")
    assert ran.code == 69
    assert "nowhere.db" in ran.err
    assert not (hookpost.database.parent / "nowhere.db").exists()


def test_no_configuration_is_exit_code_66(hookpost: CommandLine) -> None:
    hookpost.file = hookpost.folder / "none.yaml"
    ran = hookpost("dead-letters", "list")
    assert ran.code == 66
    assert "none.yaml" in ran.err
    assert "--socket" in ran.err


@pytest.mark.parametrize("words", [("dead-letters", "list"), ("status",), ("reload",)])
def test_a_configuration_that_may_not_be_read_is_exit_code_77(
    hookpost: CommandLine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def refused(*_: object, **__: object) -> int:  # whatever user the tests run as
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("hookpost.config.files.os.open", refused)
    ran = hookpost(*words)
    assert ran.code == 77
    assert "gateway.yaml may not be read by this user" in ran.err
    assert "--socket" in ran.err


def test_what_is_no_database_is_named(hookpost: CommandLine) -> None:
    other = hookpost.database.with_name("text.db")
    other.write_text("not a database " * 100)
    hookpost.file.write_text(CONFIG.replace("outbox.db", "text.db"))
    ran = hookpost("dead-letters", "list")
    assert ran.code == 69
    assert "text.db" in ran.err
