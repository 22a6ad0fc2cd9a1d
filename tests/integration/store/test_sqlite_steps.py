"""SQLite row by row, as versions without JSON of their own take it, gives the same tables as many rows in one step."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cdrhub.store import Store, sqlite_rows
from cdrhub.store.sqlite import LOCK_CALLS, UPDATE_COLUMNS, SQLiteTransaction
from cdrhub.store.tables import calls, records
from support import ledger
from support.ledger import batches, ended, item, rows, settled_rows, story, updated


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store in a new file."""
    opened = Store.open(f"sqlite:///{tmp_path}/cdrhub.db", redecode=ledger.decode)
    await opened.prepare()
    yield opened
    await opened.close()


@pytest.mark.parametrize("reads_json", [False, pytest.param(True, id="as JSON")])
async def test_calls_of_several_events(store: Store, monkeypatch: pytest.MonkeyPatch, reads_json: bool) -> None:
    if reads_json and not sqlite_rows.READS_JSON:
        pytest.skip("this SQLite has no JSON of its own")
    monkeypatch.setattr(SQLiteTransaction, "reads_json", reads_json)
    events = [item(body) for number in range(30) for body in story(f"k{number}", number)]
    later = sorted(events, key=lambda one: one.record.digest)
    for batch in batches([*later, *events[:7]], 40):
        await store.write(batch)
    stored = await settled_rows(store)
    assert len(await rows(store, calls)) == 30
    assert len(await rows(store, records)) == len({one.record.digest for one in events})

    other = Store.open(f"sqlite:///{store.database.url.database}-again", redecode=ledger.decode)
    await other.prepare()
    await other.write(events)
    assert await settled_rows(other) == stored
    await other.close()


async def test_a_nul_in_a_batch_costs_nothing_but_time(store: Store) -> None:
    written = await store.write(
        [item(ended("k")), updated(item(ended("n", 1)), values={"state": "ended", "cause": "a\0b"})]
    )
    assert written.calls_created == 2
    assert {row["call_key"]: row["cause"] for row in await rows(store, calls)}["n"] == "a\0b"


async def test_another_process_that_begins_the_log_is_waited_for(tmp_path: Path) -> None:
    opened = Store.open(f"sqlite:///{tmp_path}/cdrhub.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "cdrhub.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # before there is a log; SQLite refuses at once to begin one beside it
        preparing = asyncio.create_task(opened.prepare())
        done, _ = await asyncio.wait({preparing}, timeout=0.2)
        assert not done
        other.execute("COMMIT")
        await preparing
    await opened.write([item(ended("k"))])
    await opened.close()


async def test_the_statements_find_calls_by_their_keys(store: Store) -> None:
    looked = await plan(store, LOCK_CALLS, ('["k1","k2"]', "s"))
    assert "(call_key=? AND source=?)" in looked
    changed = await plan(store, sqlite_rows.update_statement(calls, UPDATE_COLUMNS, key="id"), {"rows": "[]"})
    assert re.search(r"SEARCH calls .*\(id=\?\)", changed)


async def plan(store: Store, statement: str, parameters: tuple[str, ...] | dict[str, str]) -> str:
    """The plan of a statement, step by step."""
    async with store.database.connect(writing=True) as connection:
        steps = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(" ".join(map(str, step)) for step in steps)
