"""Lists in every format: the same rows, safe to read."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cdrhub.cli.output import Format, Listing, show

LAGOS = ZoneInfo("Africa/Lagos")
ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "caller_name": "[red]=cmd|'/c calc'!A1\x1b[31m",
        "caller_e164": "+2348039100000",
        "started_at": datetime(2026, 3, 1, 23, 30, tzinfo=UTC),
        "talk_seconds": -5,
        "cost": Decimal("0.0700"),
        "flags": ["late", "conflict"],
        "hidden": 1,
    },
    {"id": "b", "caller_name": None, "started_at": None},
]
COLUMNS = ["id", "caller_name", "caller_e164", "started_at", "talk_seconds", "cost", "flags"]


def shown(form: Format, rows: list[dict[str, Any]] | None = None) -> str:
    out = io.StringIO()
    count = show(Listing(columns=COLUMNS, rows=ROWS if rows is None else rows), form=form, zone=LAGOS, stream=out)
    assert count == len(ROWS if rows is None else rows)
    return out.getvalue()


def test_csv_has_every_column_and_no_formula() -> None:
    first, second = csv.DictReader(io.StringIO(shown(Format.CSV), newline=""))
    assert first == {
        "id": "a",
        "caller_name": "[red]=cmd|'/c calc'!A1\\x1b[31m",
        "caller_e164": "'+2348039100000",
        "started_at": "2026-03-02T00:30:00+01:00",
        "talk_seconds": "-5",
        "cost": "0.0700",
        "flags": '["late", "conflict"]',
    }
    assert second["started_at"] == ""


@pytest.mark.parametrize("form", [Format.JSON, Format.NDJSON])
def test_json_keeps_values_and_types(form: Format) -> None:
    text = shown(form)
    rows = json.loads(text) if form is Format.JSON else [json.loads(line) for line in text.splitlines()]
    assert rows[0] == {
        "id": "a",
        "caller_name": ROWS[0]["caller_name"],
        "caller_e164": "+2348039100000",
        "started_at": "2026-03-02T00:30:00+01:00",
        "talk_seconds": -5,
        "cost": "0.0700",
        "flags": ["late", "conflict"],
    }
    assert rows[1]["caller_name"] is None


@pytest.mark.parametrize("form", list(Format))
def test_no_format_lets_a_control_character_through(form: Format) -> None:
    text = shown(form, [{"id": "\x1b]0;x\x07\x9b1m\u202e", "caller_name": "\x85"}])
    assert not set(text) & set("\x1b\x07\x9b\x85\u202e")


def test_a_table_shows_local_times_and_no_markup() -> None:
    text = shown(Format.TABLE)
    assert "2026-03-02 00:30:00" in text
    assert "[red]=cmd" in text


@pytest.mark.parametrize(
    ("form", "text"), [(Format.TABLE, "nothing found\n"), (Format.JSON, "[]\n"), (Format.NDJSON, "")]
)
def test_nothing_found(form: Format, text: str) -> None:
    assert shown(form, []) == text
