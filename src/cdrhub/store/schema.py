"""The schema's life: made in an empty database, brought up to date on request, refused when it is not this one's.

One process at a time changes it, under a lock of the database. The views are dropped before a migration and made
again after it, so that a migration may change any column.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, exists, inspect, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import SchemaOutdated, StoreUnavailable
from cdrhub.store import event_tables, redial_tables  # noqa: F401 - they add their tables to METADATA
from cdrhub.store.engine import Database
from cdrhub.store.tables import METADATA
from cdrhub.store.views import VIEWS, create_views, drop_views

if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_LOCK = 0x63647268  #: the key of PostgreSQL's advisory lock: "cdrh"
LOCK_SECONDS = 60
UPGRADE_SECONDS = 24 * 3600.0  #: that a statement may take which writes all of a large table again
MIGRATIONS = Path(__file__).parent / "migrations"
_STANDING = table("alembic_version", column("version_num"))  # one row, kept by alembic


@cache
def revisions() -> Sequence[str]:
    """The revisions that this version of the program knows, oldest first."""
    return sorted(file.stem.removeprefix("r") for file in (MIGRATIONS / "versions").glob("r*.py"))


def newest() -> str:
    """The revision of this version of the program."""
    return revisions()[-1]


def revision_of(connection: Connection) -> str | None:
    """The revision of the schema in the database; None in an empty one."""
    if not inspect(connection).has_table(_STANDING.name):
        return None
    return connection.scalar(select(_STANDING.c.version_num))


async def prepare(database: Database) -> None:
    """Make the schema where there is none, or go on where MariaDB committed a part of it. Raises SchemaOutdated
    for an older or newer one, StoreUnavailable."""
    if await checked(database) is None or not await _has_views(database):
        await upgrade(database)


async def _has_views(database: Database) -> bool:
    async with database.connect() as connection:
        return set(VIEWS) <= set(await connection.run_sync(lambda c: inspect(c).get_view_names()))


async def checked(database: Database) -> str | None:
    """This version's revision if the database has its schema, None if it has none yet, or only what a first start made
    of it that was cut off, or is at work. Raises SchemaOutdated for another one, for foreign tables of our names and
    for an empty database that is not in UTF-8, StoreUnavailable."""
    async with database.connect() as connection:
        current = await connection.run_sync(revision_of)
        if current is None:
            await _refuse_unfit(database, connection)
        elif database.kind == "mariadb" and current in revisions()[:-1] and await connection.run_sync(_is_bare):
            return None  # MariaDB commits each step of an upgrade; nothing was ever written
    if current is not None and current != newest():
        raise SchemaOutdated(
            f"{database.explain_url()}: its schema is {current} and this version's is {newest()}: "
            + ("run `cdrhub db upgrade`" if current in revisions() else "run a newer version of cdrhub")
        )
    return current


def _is_bare(connection: Connection) -> bool:
    there = METADATA.tables.keys() & set(inspect(connection).get_table_names())
    return not any(connection.scalar(select(exists().select_from(table(name)))) for name in there)


async def _refuse_unfit(database: Database, connection: AsyncConnection) -> None:
    """Foreign tables of our names, and a database of PostgreSQL in which not every name can be written."""
    if database.kind == "postgresql" and (encoding := await connection.scalar(text("SHOW server_encoding"))) != "UTF8":
        raise SchemaOutdated(
            f"{database.explain_url()}: its encoding is {encoding}, which cannot hold every name: make it with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    there = await connection.run_sync(lambda c: set(inspect(c).get_table_names()))
    if database.kind == "mariadb" and _STANDING.name in there:
        return  # ours: MariaDB commits each step of an upgrade, and the first one ended before it was done
    if others := there & set(METADATA.tables):
        raise SchemaOutdated(
            f"{database.explain_url()}: it has tables of the same names that cdrhub did not make: "
            f"{', '.join(sorted(others))}"
        )


async def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the schema to this version's; says the revisions before and after. Raises SchemaOutdated for a newer one,
    for foreign tables of our names and for an empty database that is not in UTF-8, StoreUnavailable when the database
    is away or another process upgrades it and does not end."""
    async with (
        _patient(database) as patient,
        patient.connect(writing=True) as connection,
        _locked(database, connection),
    ):
        before = await connection.run_sync(revision_of)
        if before is not None and before not in revisions():
            raise SchemaOutdated(
                f"{database.explain_url()}: its schema is {before}, which this version does not know: "
                "run a newer version of cdrhub"
            )
        if before is None:
            await _refuse_unfit(database, connection)
        await connection.run_sync(_upgrade)
        return before, newest()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - only an upgrade needs it, and every command would wait for it

    drop_views(connection)
    command.upgrade(config_of(connection), "head")
    create_views(connection)


def config_of(connection: Connection) -> Config:
    """What alembic must know to work on this connection, in its transaction."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@asynccontextmanager
async def _patient(database: Database) -> AsyncIterator[Database]:
    """The same database, where no statement is given up for taking long. Only PostgreSQL's writers give up any."""
    if database.kind != "postgresql":
        yield database
        return
    patient = Database(database.url, connections=1, seconds=UPGRADE_SECONDS)
    try:
        yield patient
    finally:
        await patient.close()


@asynccontextmanager
async def _locked(database: Database, connection: AsyncConnection) -> AsyncIterator[None]:
    """Nobody else upgrades. SQLite's write transaction has that lock already."""
    if database.kind == "postgresql":
        await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_SECONDS * 1000:d}"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        yield
    elif database.kind == "mariadb":
        name = {"name": f"cdrhub.{database.url.database}"[:64], "seconds": LOCK_SECONDS}
        if await connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), name) != 1:
            raise StoreUnavailable(f"{database.explain_url()}: another process upgrades it")
        await connection.execute(text("SET sql_notes = 0"))  # the driver would print them
        try:
            yield
        finally:
            if not connection.invalidated:  # one that is lost has no lock any more, and says why it was lost
                await connection.execute(text("SET sql_notes = 1"))
                await connection.execute(text("DO RELEASE_LOCK(:name)"), name)
    else:
        yield
