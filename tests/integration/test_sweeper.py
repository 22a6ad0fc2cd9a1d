"""The sweep of open calls: each conclusion is journalled once, also of a source that is not there any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from cdrhub.errors import JournalFull
from cdrhub.hub.sources_at_work import SourcesAtWork
from cdrhub.hub.sweeper import Sweeper
from cdrhub.journal import Journal
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.model.call import Call
from cdrhub.routes import Routes
from cdrhub.store import Store
from support.journal import lines
from support.ledger import decode, item, message
from support.plug_ins import install
from support.processes import python


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


async def fill(journal: Journal) -> None:
    """Append what takes least room until it refuses."""
    while True:
        await journal.append(lines("x"))


async def test_a_full_journal_has_room_for_what_is_concluded(tmp_path: Path, sqlite_url: str) -> None:
    journal, store = await Journal.open(tmp_path, max_bytes=100_000), Store.open(sqlite_url, redecode=decode)
    await store.prepare()
    await store.write([item(message("k", values={"state": "ringing", "started_at": 0}), source="out")])
    await journal.append(lines("x" * 89_000))
    with pytest.raises(JournalFull):
        await fill(journal)
    depth = journal.stats.depth
    at_work = SourcesAtWork(
        journal=journal, metrics=Metrics(), listeners=Listeners(), routes=Routes(), open_calls=no_calls
    )
    await Sweeper(store=store, journal=journal, sources=at_work, expected=frozenset).sweep()
    assert journal.stats.depth == depth + 1
    await journal.close()
    await store.close()


PLUG_IN = """
from typing import Literal

from cdrhub.sources.voicenter import SYSTEM as VOICENTER

class Config(VOICENTER.config_model):
    type: Literal["acme"] = "acme"

class Acme(type(VOICENTER)):
    name = "acme"
    config_model = Config

    def conclude(self, config, call, *, silent_for):
        if call.call_key == "first":
            raise RuntimeError("a bug of a plug-in")
        return None

SYSTEM = Acme()
"""
SWEPT = """
import asyncio, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))

from cdrhub.journal import Journal
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.routes import Routes
from cdrhub.hub.sources_at_work import SourcesAtWork, built
from cdrhub.store import Store
from cdrhub.hub.sweeper import Sweeper
from support.hubs import configured
from support.ledger import decode, item, message

async def main():
    config = configured(folder, '[sources.crm]\\ntype = "acme"\\npath = "/ingest/acme/0123456789abcdef-secret"\\n')
    journal, store = await Journal.open(folder / "data"), Store.open(f"sqlite:///{folder / 'hub.db'}", redecode=decode)
    await store.prepare()
    for key in ("first", "second"):
        await store.write([item(message(key, values={"state": "ringing", "started_at": 0}), source="crm")])
    at_work = SourcesAtWork(
        journal=journal, metrics=Metrics(), listeners=Listeners(), routes=Routes(), open_calls=None
    )
    await at_work.start(built(config), config)
    await Sweeper(store=store, journal=journal, sources=at_work, expected=lambda: config.sources).sweep()
    await at_work.stop()
    bodies = [entry.record.body for entry in await journal.read(after=0, limit=100, max_bytes=1 << 20)]
    print("concluded:", *(key for key in ("first", "second") if any(b'"%b"' % key.encode() in one for one in bodies)))
    await journal.close()
    await store.close()

asyncio.run(main())
"""


def test_a_rule_that_fails_for_one_call_holds_up_no_other(tmp_path: Path) -> None:
    install(tmp_path, PLUG_IN)
    done = python(SWEPT, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "concluded: second", done.stderr
    assert "conclude_failed" in done.stdout + done.stderr
