"""The statements that must not slow down with the backlog use the index made for them."""

from pathlib import Path

import pytest
from tests.storage.steps import NOW

from hookpost.core.model import State
from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import sql
from hookpost.storage.sqlite.people import selected
from hookpost.storage.sqlite.store import Store


@pytest.fixture
def opened(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "outbox.db", synchronous="full", now=NOW)


def plan(opened: Store, statement: str) -> str:
    names = ("endpoint", "next_at", "id", "now", "limit", "last_next_at", "last_id", "before")
    parameters: object = dict.fromkeys((*names, "in_flight", "after"), 1)
    if "?" in statement:
        parameters = [1] * statement.count("?")
    rows = opened.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    opened.close(checkpoint=False)
    return " | ".join(row[3] for row in rows)


def test_a_refill_walks_the_due_index_in_order(opened: Store) -> None:
    """Even where very many share one next_at: after a bulk replay all of them do."""
    steps = plan(opened, sql.statements("reader")["due_sizes"])
    assert "delivery_due (endpoint=? AND next_at=? AND id>?)" in steps
    assert "delivery_due (endpoint=? AND next_at>? AND next_at<?)" in steps
    assert "TEMP B-TREE" not in steps


def test_what_a_refill_found_is_read_by_number(opened: Store) -> None:
    steps = plan(opened, sql.statements("reader")["due"])
    assert "SEARCH d USING INTEGER PRIMARY KEY" in steps
    assert "SEARCH e USING INTEGER PRIMARY KEY" in steps
    assert "SEARCH p USING INTEGER PRIMARY KEY (rowid=?)" in steps
    assert "TEMP B-TREE" not in steps


def test_the_next_due_time_is_one_look_up(opened: Store) -> None:
    steps = plan(opened, sql.statements("reader")["due_after"])
    assert steps == "SEARCH delivery USING INDEX delivery_due (endpoint=? AND next_at>?)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("finished_before", "USING INDEX delivery_finished (state=? AND settled_at<?)"),
        ("oldest_finished", "USING COVERING INDEX delivery_finished (state=?)"),
        ("oldest_unrouted", "SCAN event USING INDEX event_unrouted"),
        ("unrouted_before", "USING INDEX event_unrouted (accepted_at<?)"),
        ("delete_identities", "USING COVERING INDEX dedup_expires (expires_at<?)"),
        ("sweep_candidates", "INDEX delivery_due (endpoint=?)"),
    ],
)
def test_housekeeping_walks_an_index(opened: Store, name: str, expected: str) -> None:
    steps = plan(opened, sql.statements("retention")[name])
    assert expected in steps
    assert "TEMP B-TREE" not in steps


def test_the_head_of_a_line_is_one_look_up(opened: Store) -> None:
    steps = plan(opened, sql.statements("writer")["head_of_line"])
    assert steps == "SEARCH delivery USING INDEX delivery_line (endpoint=? AND order_key=?)"


def test_those_who_are_blocked_are_counted_by_the_due_index(opened: Store) -> None:
    steps = plan(opened, sql.statements("reader")["blocked"])
    assert steps == "SEARCH delivery USING INDEX delivery_due (endpoint=? AND next_at=?)"


def test_whether_an_event_is_bare_is_a_range_of_the_primary_key(opened: Store) -> None:
    steps = plan(opened, sql.repeated("retention", "delete_bare_events", 3))
    assert "SEARCH event USING INTEGER PRIMARY KEY" in steps
    assert "SEARCH d USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps


def test_the_payloads_of_an_event_are_a_range_of_the_primary_key(opened: Store) -> None:
    steps = plan(opened, sql.repeated("retention", "delete_bare_payloads", 3))
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)" in steps
    assert "SEARCH p USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps
    assert "SCAN" not in steps.replace("SCAN LIST", "")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(endpoint="crm", states=frozenset({State.DEAD})), "INDEX delivery_dead (end"),
        (Selection(states=frozenset({State.DEAD})), "INDEX delivery_dead_anywhere (id<?)"),
        (Selection(), "SEARCH d USING INTEGER PRIMARY KEY (rowid<?)"),
        (Selection(blocked=True), "SEARCH d USING INDEX delivery_blocked (id<?)"),
    ],
)
def test_a_page_of_deliveries_is_read_in_order(
    opened: Store, selection: Selection, expected: str
) -> None:
    texts = sql.statements("reader")
    query = selected(selection, (), attempts=True, also="before")
    steps = plan(opened, f"{texts['view']}\n{query.text}\n{texts['newest_first']}")
    assert expected in steps
    assert "TEMP B-TREE" not in steps
