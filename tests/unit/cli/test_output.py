"""Lists in every format: the same rows, safe to read."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cdrhub.cli.output import Format, Listing, paragraph, show

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


def test_rows_that_are_read_as_they_are_written_to_a_file_are_counted_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A long list that went to a file looked like a program that hangs. A pager has the terminal for itself."""
    monkeypatch.setenv("TERM", "xterm")
    terminal, its_end = os.openpty()
    reading, writing = os.pipe()
    file = tmp_path / "list.csv"
    try:
        with os.fdopen(its_end, "w") as errors, os.fdopen(writing, "w") as pager, file.open("w", newline="") as out:
            monkeypatch.setattr(sys, "stderr", errors)
            for stream in (pager, out):
                assert show(Listing(columns=COLUMNS, rows=iter(ROWS)), form=Format.CSV, zone=LAGOS, stream=stream) == 2
            monkeypatch.undo()
        drawn = b""
        with suppress(OSError):  # the end of a terminal whose other end is closed; one read need not give all of it
            while part := os.read(terminal, 65536):
                drawn += part
        assert re.search(rb"rows .*2/2", drawn)
        assert drawn.count(b"\x1b[?25l") == 1, "one bar hid the cursor"
        assert file.read_bytes().decode() == shown(Format.CSV)
    finally:
        os.close(terminal)
        os.close(reading)


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


class Terminal(io.StringIO):
    """Standard output as a terminal is."""

    def isatty(self) -> bool:
        return True


CALLS: list[dict[str, Any]] = [
    {
        "sort_at": datetime.now(UTC).replace(month=3, day=place, hour=9, minute=30, second=0, microsecond=0),
        "source": "lagos",
        "direction": ("inbound", "outbound")[place % 2],
        "queue": "Sales and Support",
        "talk_seconds": place,
        "id": f"0197c4c{place}-9b6e-7c11-b5f2-1c2d3e4f5a6b",
    }
    for place in (1, 2)
]


def on_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]] = CALLS) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    listing = Listing(
        columns=list(CALLS[0]), headings={"sort_at": "time"}, yields=("direction", "queue", "source"), rows=rows
    )
    show(listing, form=Format.TABLE, zone=LAGOS, stream=out)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert all(len(line) <= columns for line in lines)
    return [line.strip() for line in lines if line.strip()]


def test_a_wide_terminal_has_every_column_and_one_line_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    heading, _, first, second = on_a_terminal(100, monkeypatch)
    assert heading.split() == ["time", "(WAT)", "source", "direction", "queue", "talk", "s", "id"]
    assert first.split() == [
        "03-01",
        "10:30:00",
        "lagos",
        "outbound",
        *("Sales", "and", "Support"),
        "1",
        "0197c4c1-9b6e",
    ]
    assert second.endswith("0197c4c2-9b6e")


def test_a_narrow_terminal_leaves_out_what_says_least_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    heading, _, first, _, left_out = on_a_terminal(64, monkeypatch)
    assert heading.split() == ["time", "(WAT)", "source", "direction", "talk", "s", "id"]  # one queue in all
    assert first.split()[:2] == ["03-01", "10:30:00"]
    assert left_out.startswith("no room for: queue ")


def test_a_terminal_shows_as_much_of_ids_as_tells_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [{**CALLS[0], "id": f"0197c4c1-9b6e-{rest}-b5f2-1c2d3e4f5a6b"} for rest in ("7c11", "7c12")]
    assert [line.split()[-1] for line in on_a_terminal(100, monkeypatch, twins)[2:]] == [
        "0197c4c1-9b6e-7c11",
        "0197c4c1-9b6e-7c12",
    ]


def test_ids_that_were_given_at_once_are_not_broken_and_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one batch are the same up to their last twelve digits."""
    batch = [{**CALLS[0], "id": f"01a205dd-f135-74c8-b2db-{rest}"} for rest in ("634f2ad805cf", "634b38e752a8")]
    assert [line.split()[-1] for line in on_a_terminal(110, monkeypatch, batch)[2:]] == [
        "01a205dd-f135-74c8-b2db-634f",
        "01a205dd-f135-74c8-b2db-634b",
    ]
    narrow = Listing(columns=["source", "talk_seconds", "id"], yields=("source", "id"), rows=batch)
    monkeypatch.setenv("COLUMNS", "30")
    out = Terminal()
    show(narrow, form=Format.TABLE, zone=LAGOS, stream=out)
    assert "lagos" in out.getvalue()  # it had yielded in vain
    assert "no room for: id " in out.getvalue()


def test_a_subject_is_a_code_or_the_beginning_of_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"subject": "C-1"}, {"subject": CALLS[0]["id"]}]
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    show(Listing(columns=["subject"], rows=rows), form=Format.TABLE, zone=LAGOS, stream=out)
    assert out.getvalue().split()[-2:] == ["C-1", "0197c4c1-9b6e"]


def test_a_text_that_wants_room_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": 1, "content_type": "text/event-plain", "body": "word " * 40}]
    listing = Listing(columns=["id", "content_type", "body"], rows=rows, yields=("content_type",), roomy=("body",))
    for columns, here in ((70, True), (50, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = Terminal()
        show(listing, form=Format.TABLE, zone=LAGOS, stream=out)
        assert ("text/event-plain" in out.getvalue()) is here


def test_times_of_other_years_keep_their_year(monkeypatch: pytest.MonkeyPatch) -> None:
    old = [{**CALLS[0], "sort_at": datetime(2019, 3, 1, 9, 30, tzinfo=UTC)}, CALLS[1]]
    assert on_a_terminal(100, monkeypatch, old)[2].startswith("2019-03-01 10:30:00")


def test_times_before_and_after_a_change_of_the_clocks_name_both_zones() -> None:
    out = io.StringIO()
    rows = [{"at": datetime(2026, month, 1, tzinfo=UTC)} for month in (1, 7)]
    show(Listing(columns=["at"], rows=rows), form=Format.TABLE, zone=ZoneInfo("Europe/Paris"), stream=out)
    assert "at (CEST/CET)" in out.getvalue()


def test_a_long_text_yields_only_where_even_its_beginning_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"source": "lagos", "detail": "the peer closed, " * 5}]
    listing = Listing(columns=["source", "detail"], rows=rows, yields=("detail",))
    for columns, here in ((30, True), (18, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = Terminal()
        show(listing, form=Format.TABLE, zone=LAGOS, stream=out)
        assert ("peer" in out.getvalue()) is here


def test_a_column_in_which_no_row_says_anything_is_in_no_table() -> None:
    rows = [{"webhook": "crm", "refused": 0, "next_at": None, "last_error": ""} for _ in range(2)]
    for form, here in ((Format.TABLE, False), (Format.CSV, True), (Format.NDJSON, True)):
        out = io.StringIO()
        assert show(Listing(columns=list(rows[0]), rows=rows), form=form, zone=LAGOS, stream=out) == len(rows)
        said = out.getvalue().replace("_", " ")
        assert [word in said for word in ("webhook", "refused", "next at", "last error")] == [True, True, here, here]


def test_a_sentence_is_broken_between_words_at_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "09:30:00  An order to dial came: +2348039100001 is looked at again at 2026-11-23 00:34:45 UTC."
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert paragraph(said, indent=10) == said
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "50")
    assert paragraph(said, indent=10).splitlines() == [
        "09:30:00  An order to dial came: +2348039100001 is",
        "          looked at again at 2026-11-23 00:34:45",
        "          UTC.",
    ]
    monkeypatch.setenv("COLUMNS", "12")
    assert paragraph(said, indent=10) == said


@pytest.mark.parametrize(
    ("form", "text"), [(Format.TABLE, "nothing found\n"), (Format.JSON, "[]\n"), (Format.NDJSON, "")]
)
def test_nothing_found(form: Format, text: str) -> None:
    assert shown(form, []) == text
