"""Retention of a hub whose clock jumps."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdrhub.config.model import RetentionConfig
from cdrhub.hub.retaining import Retaining
from cdrhub.journal import Journal
from cdrhub.store import Store
from cdrhub.store.tables import records
from support.ledger import at, ended, item, rows

DAY = 86_400.0


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/cdrhub.db"


async def test_a_clock_that_is_years_ahead_takes_nothing_away_before_somebody_could_set_it_right(
    tmp_path: Path, database_url: str
) -> None:
    """Every body was emptied an hour after the start."""
    store = Store.open(database_url)
    await store.prepare()
    await store.write([item(ended("k"), received=0.0)])
    journal = await Journal.open(tmp_path / "data")
    years = 3650 * DAY
    for began in (years, years + 1800.0):  # a restart makes it no more credible
        retaining = Retaining(store=store, journal=journal, limits=RetentionConfig, began=at(began))
        await retaining.look(now=at(began + 3600.0))
        assert retaining.problem is not None
        assert "the clock is 3650 days from what it was" in retaining.problem
        assert None not in [row["body"] for row in await rows(store, records)]
        await store.write([item(ended("under that clock", 1), received=years + 1.0)])
    await retaining.look(now=at(years + 4 * DAY))
    assert retaining.problem is None
    assert [row["body"] is None for row in await rows(store, records)] == [True, False]
    await journal.close()
    await store.close()
