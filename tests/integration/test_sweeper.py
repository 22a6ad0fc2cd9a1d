"""The sweep of open calls: each conclusion is journalled once, also of a source that is not there any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cdrhub.journal import Journal
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.model.call import Call
from cdrhub.routes import Routes
from cdrhub.sources_at_work import SourcesAtWork
from cdrhub.store import Store
from cdrhub.sweeper import Sweeper
from support.ledger import decode, item, message


async def no_calls(source: str, *, silent_for: timedelta) -> Sequence[Call]:
    """No source asks for its calls."""
    return ()


async def test_what_a_source_left_open_that_is_out_is_concluded_once(tmp_path: Path, sqlite_url: str) -> None:
    journal, store = await Journal.open(tmp_path), Store.open(sqlite_url, redecode=decode)
    await store.prepare()
    await store.write([item(message("k", values={"state": "ringing", "started_at": 0}), source="out")])
    at_work = SourcesAtWork(
        journal=journal, metrics=Metrics(), listeners=Listeners(), routes=Routes(), open_calls=no_calls
    )
    expected = ["out"]  # between two runs
    sweeper = Sweeper(store=store, journal=journal, sources=at_work, expected=lambda: expected)
    await sweeper.sweep()
    assert journal.stats.depth == 0
    expected.clear()
    for _ in range(2):
        await sweeper.sweep()
        assert journal.stats.depth == 1
    await journal.close()
    await store.close()
