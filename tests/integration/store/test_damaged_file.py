"""An SQLite file that its disk does not give back."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from cdrhub.errors import StoreDamaged, StoreUnavailable
from cdrhub.store import Store
from cdrhub.store.calls import one
from support.ledger import ended, item

WHAT_TO_DO = r"is damaged: stop the daemon, move the file away .* put a backup in its place"


async def stored(file: Path) -> Store:
    """A store that holds one call, to be opened again."""
    store = Store.open(f"sqlite:///{file}")
    await store.prepare()
    await store.write([item(ended("before", 1))])
    await store.close()
    return Store.open(f"sqlite:///{file}")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It was called away, and waited for for ever."""
    file = tmp_path / "cdrhub.db"
    store = await stored(file)
    file.write_bytes(b"something else, and long enough to have a header" * 100)
    with pytest.raises(StoreDamaged, match=f"not a database: the file {WHAT_TO_DO}"):
        await store.prepare()
    await store.close()


async def test_a_file_that_cannot_be_opened_is_not_damaged(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}")
    with pytest.raises(StoreUnavailable, match=r"unable to open .*: the file or its folder is not this user's") as met:
        await store.prepare()
    assert not isinstance(met.value, StoreDamaged)
    await store.close()


async def test_a_page_that_contradicts_itself(tmp_path: Path) -> None:
    file = tmp_path / "cdrhub.db"
    store = await stored(file)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'calls'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as disk:
        disk.seek((page - 1) * size)
        disk.write(b"x" * 100)
    await store.prepare()
    with pytest.raises(StoreDamaged, match=f"malformed: the file {WHAT_TO_DO}"):
        await store.write([item(ended("before", 2))])
    await store.close()


async def test_a_text_that_nobody_wrote(tmp_path: Path) -> None:
    file = tmp_path / "cdrhub.db"
    store = await stored(file)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE calls SET queue = CAST(x'ff' AS TEXT)")
    with pytest.raises(StoreDamaged, match=WHAT_TO_DO):
        await one(store, "before")
    await store.close()
