"""The journal's file: what makes a commit durable, and what it does when a commit goes wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdrhub.errors import JournalError
from cdrhub.journal.file import DATABASE_NAME, PROBE, REMEMBER_POSITION, Group, WritableFile
from cdrhub.journal.packing import pack
from support.journal import lines

FULL = 2  #: https://www.sqlite.org/pragma.html#pragma_synchronous


@pytest.fixture
def file(tmp_path: Path) -> Iterator[WritableFile]:
    opened = WritableFile(tmp_path / DATABASE_NAME)
    yield opened
    opened.close()


def group(*bodies: str) -> Group:
    return Group(payload=pack(lines(*bodies)), count=len(bodies), bytes=100, received_at=0)


def live(file: WritableFile) -> sqlite3.Connection:
    """The connection that the next commit uses."""
    return file._open()


def durable(path: Path) -> int:
    """The records that another connection sees."""
    with contextlib.closing(sqlite3.connect(path / DATABASE_NAME)) as other:
        return int(other.execute("SELECT coalesce(sum(count), 0) FROM groups").fetchone()[0])


def pragmas(file: WritableFile) -> tuple[object, object]:
    connection = live(file)
    return (
        connection.execute("PRAGMA synchronous").fetchone()[0],
        connection.execute("PRAGMA journal_mode").fetchone()[0],
    )


def test_a_commit_is_fsynced_also_on_the_connection_after_an_error(file: WritableFile) -> None:
    assert pragmas(file) == (FULL, "wal")
    with pytest.raises(sqlite3.Error):
        file.commit(None, [("no SQL", ())], checkpoint=0)
    assert pragmas(file) == (FULL, "wal")


@pytest.mark.parametrize("value", ["\udce9", 2**64, object()])
def test_no_error_leaves_a_transaction_open(tmp_path: Path, file: WritableFile, value: Any) -> None:
    with pytest.raises((UnicodeEncodeError, OverflowError, sqlite3.Error)):
        file.commit(group("lost", "too"), [(REMEMBER_POSITION, ("lagos", value, "1"))], checkpoint=0)
    assert not live(file).in_transaction
    assert file.commit(group("a"), (), checkpoint=0).last == 1
    assert durable(tmp_path) == 1


def test_a_transaction_that_is_open_all_the_same_is_refused_and_given_up(tmp_path: Path, file: WritableFile) -> None:
    live(file).execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="did not end"):
        file.commit(group("a"), (), checkpoint=0)
    with pytest.raises(JournalError, match="did not end"):
        file.commit(None, [("BEGIN IMMEDIATE", ())], checkpoint=0)
    assert file.commit(group("a"), (), checkpoint=0).last == 1
    assert durable(tmp_path) == 1


def test_entries_never_go_back(tmp_path: Path, file: WritableFile) -> None:
    file.commit(group("a", "b"), (), checkpoint=0)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as other:
        other.execute("DELETE FROM groups")
        other.commit()
    with pytest.raises(sqlite3.Error):
        file.commit(None, [("no SQL", ())], checkpoint=0)
    for _ in range(2):
        with pytest.raises(JournalError, match="ends with entry 0, 2 was written"):
            file.commit(group("c"), [(PROBE, ())], checkpoint=0)
    assert durable(tmp_path) == 0
