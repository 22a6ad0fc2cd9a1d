"""Rows are complete, in the order of their columns, and sort in the order of the locks."""

from __future__ import annotations

import pytest

from cdrhub.errors import Reason
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from cdrhub.store.agent_states import AGENT_STATE_COLUMNS
from cdrhub.store.rows import (
    CALL_COLUMNS,
    COVERAGE_COLUMNS,
    FACT_COLUMNS,
    LEG_COLUMNS,
    RECORD_COLUMNS,
    UNOPENED_COLUMNS,
    call_row,
    leg_rows,
    record_row,
    storable_detail,
)
from cdrhub.store.tables import MAX_DETAIL, agent_states, call_legs, calls, coverage, outbox, records, unopened
from support.ledger import at, ended, item

ATTACHED = {"case_id", "attempt_id"}


def test_every_column_is_written_or_attached() -> None:
    assert set(CALL_COLUMNS) == set(calls.c.keys()) - ATTACHED
    assert set(LEG_COLUMNS) == set(call_legs.c.keys())
    assert set(RECORD_COLUMNS) == set(records.c.keys()) - {"id", "repaired_body"}
    assert set(AGENT_STATE_COLUMNS) == set(agent_states.c.keys()) - {"id"}
    assert set(FACT_COLUMNS) == set(outbox.c.keys()) - {"id", "case_id", "position"}
    assert set(COVERAGE_COLUMNS) == set(coverage.c.keys()) - {"id"}
    assert set(UNOPENED_COLUMNS) == set(unopened.c.keys())


def test_a_row_has_its_values_under_its_columns() -> None:
    one = item(ended("k", 7))
    assert isinstance(one.outcome, CallUpdate)
    call = fold([one.outcome])
    row = call_row(call, call_id="id", item=one, record_count=3, revision=2, received=(at(1), at(2)), now=at(3))
    said = dict(zip(CALL_COLUMNS, row, strict=True))
    assert (said["source"], said["call_key"], said["id"], said["record_count"], said["revision"]) == (
        "lagos", "k", "id", 3, 2,
    )  # fmt: skip
    assert (said["first_received_at"], said["last_received_at"], said["updated_at"]) == (at(1), at(2), at(3))
    assert (said["agent_name"], said["talk_seconds"], said["flags"]) == ("Ade", 60, "[]")
    (leg,) = leg_rows("id", call, received_at=at(9))
    its = dict(zip(LEG_COLUMNS, leg, strict=True))
    assert (its["agent_extension"], its["hour"]) == ("102", "2026-03-09T10:00:00Z")
    record = dict(zip(RECORD_COLUMNS, record_row(one, "id"), strict=True))
    assert (record["body"], record["state"], record["call_id"]) == (ended("k", 7), "applied", "id")


def test_rows_sort_by_source_and_key() -> None:
    rows = [record_row(item(ended(key), source=source), None) for source in ("b", "a") for key in ("y", "x")]
    assert sorted(rows) == sorted(rows, key=lambda row: (row[0], row[1]))


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("plain", "plain"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\ud800", "?"),
        ("x" * 5000, "x" * MAX_DETAIL),
    ],
)
def test_details_are_storable(detail: str, expected: str) -> None:
    assert storable_detail(detail) == expected


def test_reasons_fit_their_column() -> None:
    assert all(len(reason) <= 32 for reason in Reason)
