"""The ledger: what is written is what is read, also by another process and after a kill."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdrhub.errors import NotFound, UsageError
from cdrhub.model.disposition import Outcome, Role
from cdrhub.sources.simulation.ledger import Entry, Ledger, Person, read

ENTRY = Entry(
    system="3cx",
    call_key="1/00000172FF10D141_1",
    columns={"disposition": "answered", "talk_seconds": 30, "answered_at": None},
    people=(Person(role=Role.AGENT, agent_id="114", outcome=Outcome.ANSWERED),),
)


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    started = datetime(2026, 3, 2, 8, 0, 0, 5000, tzinfo=UTC)
    with Ledger(file) as ledger:
        ledger.note(ENTRY)
    with Ledger(file) as ledger:
        ledger.note(Entry(system="enigma", call_key="1", columns={"started_at": started}))
        assert ledger.count == 1
    ledger.close()
    found = read(file)
    assert found["3cx", ENTRY.call_key] == ENTRY
    assert found["enigma", "1"].people is None
    assert found["enigma", "1"].columns == {"started_at": "2026-03-02T08:00:00.005000+00:00"}


def test_a_call_written_again_replaces_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    with Ledger(file) as ledger:
        ledger.note(Entry(system="3cx", call_key=ENTRY.call_key, columns={}))
        ledger.note(ENTRY)
    assert list(read(file).values()) == [ENTRY]


def test_without_a_path_entries_are_counted() -> None:
    with Ledger() as ledger:
        ledger.note(ENTRY)
    assert ledger.count == 1


def test_a_cut_last_line_is_left_out_and_a_broken_one_named(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    with Ledger(file) as ledger:
        ledger.note(ENTRY)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])
    assert list(read(file).values()) == [ENTRY]
    for broken in (b"{}\n", b"no JSON\n", b'{"system":1,"call_key":2,"columns":3,"people":4}\n', b"[]\n"):
        file.write_bytes(whole + broken)
        with pytest.raises(UsageError, match="line 2: this is no line of a ledger"):
            read(file)


def test_a_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"the ledger .*gone.jsonl cannot be read: No such file or directory"):
        read(tmp_path / "gone.jsonl")
    with pytest.raises(UsageError, match="cannot be written: Is a directory"):
        Ledger(tmp_path)
