"""The schema's life on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import SchemaOutdated, StoreError, StoreUnavailable
from cdrhub.redial.announced import announced
from cdrhub.store import Store, schema
from cdrhub.store.tables import METADATA
from cdrhub.store.views import VIEWS
from support.ledger import ended, item, of_agent
from support.servers import PostgresServer


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store in a database of its own."""
    opened = Store.open(database_url)
    await opened.prepare()
    yield opened
    await opened.close()


def reflected(connection: Connection) -> dict[str, Any]:
    """What the database says of its tables."""
    look = inspect(connection)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), getattr(c["type"], "collation", None), c["nullable"], c.get("identity"))
                for c in look.get_columns(table)
            ],
            "primary key": look.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(tuple(u["column_names"]) for u in look.get_unique_constraints(table)),
            "indexes": sorted((str(i["name"]), tuple(i["column_names"]), _options(i)) for i in look.get_indexes(table)),
        }
        for table in look.get_table_names()
        if table != "alembic_version"
    }


def _options(index: Any) -> dict[str, str]:
    return {name: str(value) for name, value in index.get("dialect_options", {}).items()}


async def look(store: Store, how: Callable[[Connection], Any]) -> Any:
    """Run `how` on a connection of the store."""
    async with store.database.connect() as connection:
        return await connection.run_sync(how)


async def change(store: Store, how: Callable[[AsyncConnection], Any]) -> None:
    """Run `how` in a write transaction."""
    async with store.database.connect(writing=True) as connection:
        await how(connection)


async def at_revision(url: str, revision: str) -> Store:
    """A store with the schema of an older version."""
    store = Store.open(url)
    await change(store, lambda c: c.run_sync(lambda sync: command.upgrade(schema.config_of(sync), revision)))
    return store


async def insert(store: Store, table: str, row: Mapping[str, object]) -> None:
    """Insert a row as an older version did: its columns need not be those of this one's tables."""
    literal = ", ".join("NULL" if value is None else f"'{value}'" for value in row.values())
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({literal})"
    await change(store, lambda c: c.exec_driver_sql(statement))


def old_call(call_id: str, at: str) -> dict[str, object]:
    """What every version so far wants of the row of a call; `at` is all of its times."""
    return {
        **dict.fromkeys(("source", "system", "tenant", "direction", "state"), "x"),
        **dict.fromkeys(("attributes", "flags"), "[]"),
        **dict.fromkeys(("sort_at", "first_received_at", "last_received_at", "updated_at"), at),
        **dict.fromkeys(("record_count", "revision"), 1),
        **dict.fromkeys(("id", "call_key"), call_id),
    }


async def test_fresh_is_migrated(database_url: str) -> None:
    store = Store.open(database_url)
    await store.prepare()
    migrated = await look(store, reflected)
    assert await look(store, lambda c: sorted(inspect(c).get_view_names())) == sorted(VIEWS)

    async def anew(connection: AsyncConnection) -> None:
        for view in VIEWS:
            await connection.execute(text(f"DROP VIEW {view}"))
        await connection.run_sync(METADATA.drop_all)
        await connection.run_sync(METADATA.create_all)

    await change(store, anew)
    assert await look(store, reflected) == migrated
    assert set(migrated) == set(METADATA.tables)
    await store.close()


async def test_the_first_schema_is_refused_and_brought_up_to_date(database_url: str) -> None:
    store = Store.open(database_url)

    def first(connection: Connection) -> None:
        command.upgrade(schema.config_of(connection), "0001")
        for view in VIEWS:  # as they were, of other columns
            connection.execute(text(f"CREATE VIEW {view} AS SELECT call_key FROM calls"))

    await change(store, lambda c: c.run_sync(first))
    await insert(store, "calls", old_call("01981f7e-0000-7000-8000-000000000001", "2026-03-01 12:00:00"))
    with pytest.raises(SchemaOutdated, match="cdrhub db upgrade"):
        await store.prepare()
    assert await store.upgrade() == ("0001", schema.newest())
    await store.prepare()
    assert set(await look(store, reflected)) == set(METADATA.tables)
    await store.write([item(ended("k")), item(of_agent("7001", "waiting"))])
    await store.close()


async def test_what_was_told_of_calls_stays_told(database_url: str) -> None:
    store = await at_revision(database_url, "0004")
    told = {"end": "call.ended", "prints": "AAAA"}
    ids = ["01981f7e-0000-7000-8000-000000000001", "01981f7e-0000-7000-8000-000000000002"]
    standing = await look(store, lambda c: {column["name"] for column in inspect(c).get_columns("calls")})
    for call_id, said in zip(ids, (told, None), strict=True):
        row = old_call(call_id, "2026-01-01 00:00:00") | {"announced": said and orjson.dumps(said).decode()}
        assert row.keys() <= standing
        await insert(store, "calls", row)
    await store.upgrade()
    async with store.database.connect() as connection:
        assert await announced(connection, ids) == {ids[0]: told}
    await store.close()


async def test_legs_that_were_there_get_their_hour(database_url: str) -> None:
    store = await at_revision(database_url, "0005")
    at = "2026-03-01T23:59:59.999999Z" if store.database.kind == "sqlite" else "2026-03-01 23:59:59.999999"
    late = at.replace("01T23:59", "02T00:00").replace("01 23:59", "02 00:00")
    call_id = "01981f7e-0000-7000-8000-000000000001"
    zone = "+00" if store.database.kind == "postgresql" else ""
    await insert(store, "calls", old_call(call_id, at + zone))
    leg = {"call_id": call_id, "seq": 1, "role": "queue", "outcome": "unknown"}
    await insert(store, "call_legs", leg | {"leg_key": "a"})
    await insert(store, "call_legs", leg | {"leg_key": "b", "offered_at": late + zone})
    await store.upgrade()
    async with store.database.connect() as connection:
        hours = await connection.scalars(text("SELECT hour FROM call_legs ORDER BY leg_key"))
        assert hours.all() == ["2026-03-01T23:00:00Z", "2026-03-02T00:00:00Z"]
    await store.close()


async def test_an_upgrade_of_a_large_table_is_not_given_up(postgres_url: str) -> None:
    """It was rolled back after a minute, each time anew."""
    store = await at_revision(postgres_url, "0005")
    slowly = (
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'",
        "CREATE TRIGGER slowly BEFORE UPDATE ON call_legs EXECUTE FUNCTION slowly()",
    )
    async with store.database.connect(writing=True) as connection:
        for statement in slowly:
            await connection.exec_driver_sql(statement)
    await store.close()
    hasty = Store.open(postgres_url, seconds=0.5)
    assert await hasty.upgrade() == ("0005", schema.newest())
    await hasty.close()


async def test_an_upgrade_that_ended_between_its_steps_goes_on(mariadb_url: str) -> None:
    """MariaDB commits each step of it; the table and the columns that were there already were in the way for ever."""
    store = Store.open(mariadb_url)
    await store.prepare()
    await change(store, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '0004'")))
    await change(store, lambda c: c.execute(text("DROP INDEX ix_calls_dialed_number_sort_at ON calls")))
    assert await store.upgrade() == ("0004", schema.newest())
    await change(store, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '0004'")))
    await store.write([item(ended("k"))])
    async with store.database.connect(writing=True) as connection:
        for statement in (
            "ALTER TABLE calls ADD COLUMN announced LONGTEXT",
            """UPDATE calls SET announced = '{"end": "call.ended"}'""",
            "INSERT INTO announcements (call_id, announced) SELECT id, announced FROM calls",
        ):
            await connection.exec_driver_sql(statement)
    assert await store.upgrade() == ("0004", schema.newest())
    async with store.database.connect(writing=True) as connection:
        assert await connection.scalar(text("SELECT @@sql_notes")) == 1, "whoever gets the connection next is told them"
    assert await look(store, lambda c: c.exec_driver_sql("SELECT announced FROM announcements").scalars().all()) == [
        '{"end": "call.ended"}'
    ]
    await store.close()


async def test_an_upgrade_that_loses_its_connection_says_so(mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that something must be rolled back, which hid that the server was restarted."""
    store = await at_revision(mariadb_url, "0005")

    def cut(connection: Connection) -> None:
        connection.execute(text("KILL CONNECTION_ID()"))
        connection.execute(text("SELECT 1"))

    with monkeypatch.context() as patched:
        patched.setattr(schema, "_upgrade", cut)
        with pytest.raises(StoreUnavailable) as said:
            await store.upgrade()
    assert "rolled back" not in str(said.value)
    assert await store.upgrade() == ("0005", schema.newest())
    await store.close()


@pytest.mark.parametrize("standing", ["DELETE FROM alembic_version", "UPDATE alembic_version SET version_num = '0001'"])
async def test_a_first_start_that_ended_between_any_two_steps_goes_on(mariadb_url: str, standing: str) -> None:
    """What it had made was called somebody else's, or an older version's."""
    store = Store.open(mariadb_url)
    await store.prepare()
    whole = await look(store, reflected)
    for statement in (
        standing,
        "DROP TABLE cases",
        "ALTER TABLE outbox DROP INDEX uq_outbox_position, DROP INDEX ix_outbox_unnumbered",
        "ALTER TABLE outbox DROP COLUMN position",
        "DROP VIEW v_coverage",
    ):
        await change(store, partial(AsyncConnection.exec_driver_sql, statement=statement))
    await store.prepare()
    assert {name: sorted_columns(table) for name, table in (await look(store, reflected)).items()} == {
        name: sorted_columns(table) for name, table in whole.items()
    }
    assert await look(store, lambda c: sorted(inspect(c).get_view_names())) == sorted(VIEWS)
    await store.close()


def sorted_columns(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table as `reflected`, whose columns may have been added in another order."""
    return {**table, "columns": sorted(table["columns"])}


async def test_views_that_are_missing_are_made_at_the_start(database_url: str) -> None:
    """On MariaDB an upgrade may have ended right before them."""
    store = Store.open(database_url)
    await store.prepare()
    await change(store, lambda c: c.execute(text("DROP VIEW v_calls")))
    await store.prepare()
    assert await look(store, lambda c: sorted(inspect(c).get_view_names())) == sorted(VIEWS)
    await store.close()


async def test_its_revisions_are_those_of_the_migrations(store: Store) -> None:
    known = await look(store, lambda c: ScriptDirectory.from_config(schema.config_of(c)))
    assert known.get_current_head() == schema.newest()
    assert [script.revision for script in known.walk_revisions()] == list(reversed(schema.revisions()))


async def test_preparing_twice_and_at_once(database_url: str) -> None:
    stores = [Store.open(database_url) for _ in range(2)]
    await asyncio.gather(*(store.prepare() for store in stores))
    await stores[0].prepare()
    await stores[1].write([item(ended("k"))])
    for store in stores:
        await store.close()


async def test_an_upgrade_of_what_is_up_to_date(store: Store) -> None:
    assert await store.upgrade() == (schema.newest(), schema.newest())
    await store.write([item(ended("k"))])


async def test_a_newer_schema_is_refused(store: Store) -> None:
    await change(store, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(SchemaOutdated, match="newer version of cdrhub"):
        await store.prepare()
    with pytest.raises(SchemaOutdated, match="9999"):
        await store.upgrade()
    with pytest.raises(SchemaOutdated, match="newer version of cdrhub"):
        await schema.checked(store.database)


async def test_foreign_tables_of_our_names_are_refused(database_url: str) -> None:
    store = Store.open(database_url)
    await change(store, lambda c: c.execute(text("CREATE TABLE calls (id INTEGER)")))
    for attempt in (store.prepare(), store.upgrade(), schema.checked(store.database)):
        with pytest.raises(SchemaOutdated, match=r"cdrhub did not make: calls"):
            await attempt
    await store.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_is_not_in_utf8_is_refused(postgres_server: PostgresServer, encoding: str) -> None:
    """That of a server without a locale: names were counted in bytes, or could not be written, and calls suspended."""
    name = encoding.lower()
    postgres_server.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    store = Store.open(postgres_server.url(name))
    for attempt in (store.prepare(), store.upgrade(), schema.checked(store.database)):
        with pytest.raises(SchemaOutdated, match=f"its encoding is {encoding}, .* ENCODING 'UTF8'"):
            await attempt
    await store.close()


@pytest.mark.parametrize(
    "url", ["oracle://u:secret@h/d", "oracle://h/d?password=secret", "mongodb://u:secret@h/d", "nonsense u:secret@h"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        Store.open(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d?sslmode=verify-full", "postgresql://u@h/d?password=secret"])
def test_no_password_is_shown(url: str) -> None:
    store = Store.open(url)
    assert "secret" not in repr(store)
    assert "secret" not in repr(store.database)
    assert "postgresql" in repr(store)


async def test_an_sqlite_file_has_the_name_that_is_written(tmp_path: Path) -> None:
    """It was made in another folder, and commands did not find it."""
    file = tmp_path / "50%25 of ä?#1" / "cdrhub.db"
    store = Store.open(f"sqlite:///{file}")
    await store.prepare()
    await store.close()
    assert file.exists()
    assert store.database.explain_url() == f"sqlite:///{file}"


def test_sqlite_has_two_lanes(tmp_path: Path) -> None:
    """One connection writes: a third lane would have nothing to do but wait."""
    assert Store.open(f"sqlite:///{tmp_path}/never.db", connections=8).database.lanes == 2
    assert Store.open("postgresql://u@h/d", connections=8).database.lanes == 8
