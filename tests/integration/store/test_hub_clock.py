"""A hub's clock beside that of its database, on each engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from cdrhub.config.loading import load
from cdrhub.hub.hub import Hub
from cdrhub.store import Store
from cdrhub.store.hub_clock import HubClock
from support.intake import until


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(0, []), (3_600, ["the hub's clock is 3600 s ahead of the database's"]), (-60, ["60 s behind"])],
)
async def test_a_clock_that_is_another_than_the_databases_is_told(store_url: str, ahead: int, said: list[str]) -> None:
    store = Store.open(store_url)
    try:
        clock = HubClock(store.database, clock=lambda: datetime.now(UTC) + timedelta(seconds=ahead))
        await clock.look()
        assert len(clock.problems) == len(said)
        assert all(some in problem for some, problem in zip(said, clock.problems, strict=True))
    finally:
        await store.close()


async def test_a_hub_says_so_until_it_is_right(postgres_url: str, tmp_path: Path) -> None:
    """The clock of this database is an hour behind, as long as it looks for its functions elsewhere first."""
    store = Store.open(postgres_url)
    await store.prepare()
    async with store.database.connect(writing=True) as connection:
        await connection.execute(text("CREATE SCHEMA late"))
        await connection.execute(
            text(
                "CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
                "$$ SELECT pg_catalog.clock_timestamp() - interval '1 hour' $$"
            )
        )
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.execute(text(f'ALTER DATABASE "{name}" SET search_path = late, pg_catalog, public'))
    file = tmp_path / "cdrhub.toml"
    file.write_text(f'[hub]\ndata_dir = "{tmp_path}/data"\n[database]\nurl = "{postgres_url}"\n')
    hub = await Hub.start(load(file, {}), sweep_seconds=0.05)
    try:
        await until(lambda: any("ahead of the database's" in said for said in hub.problems), "it says so")
        async with store.database.connect(writing=True) as connection:
            await connection.execute(text("DROP FUNCTION late.clock_timestamp()"))
        await until(lambda: hub.problems == [], "it is right")
    finally:
        await hub.stop()
        await store.close()
