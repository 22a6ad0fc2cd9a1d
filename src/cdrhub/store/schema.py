"""The schema's life: made in an empty database, brought up to date on request, refused when it is not this one's.

One process at a time changes it, under a lock of the database. The views are dropped before a migration and made
again after it, so that a migration may change any column.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import SchemaOutdated, StoreUnavailable
from cdrhub.store import event_tables, redial_tables  # noqa: F401 - they add their tables to METADATA
from cdrhub.store.engine import Database
from cdrhub.store.tables import METADATA
from cdrhub.store.views import create_views, drop_views

UPGRADE_LOCK = 0x63647268  #: the key of PostgreSQL's advisory lock: "cdrh"
LOCK_SECONDS = 60


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The revision of this version of the program."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101  (there is at least one revision in the package)
    return head


def revision_of(connection: Connection) -> str | None:
    """The revision of the schema in the database; None in an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


async def prepare(database: Database) -> None:
    """Make the schema where there is none. Raises SchemaOutdated for an older or newer one, StoreUnavailable."""
    if await checked(database) is None:
        await upgrade(database)


async def checked(database: Database) -> str | None:
    """This version's revision if the database has its schema, None if it has none yet. Raises SchemaOutdated for
    another one and for foreign tables of our names, StoreUnavailable."""
    async with database.connect() as connection:
        current = await connection.run_sync(revision_of)
        if current is None:
            await _refuse_foreign_tables(database, connection)
    if current is not None and current != newest():
        raise SchemaOutdated(
            f"{database.explain_url()}: its schema is {current} and this version's is {newest()}: "
            + ("run `cdrhub db upgrade`" if current in _known() else "run a newer version of cdrhub")
        )
    return current


async def _refuse_foreign_tables(database: Database, connection: AsyncConnection) -> None:
    others = await connection.run_sync(lambda c: set(inspect(c).get_table_names()) & set(METADATA.tables))
    if others:
        raise SchemaOutdated(
            f"{database.explain_url()}: it has tables of the same names that cdrhub did not make: "
            f"{', '.join(sorted(others))}"
        )


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


async def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the schema to this version's; says the revisions before and after. Raises SchemaOutdated for a newer one
    and for foreign tables of our names, StoreUnavailable when the database is away or another process upgrades it and
    does not end."""
    async with database.connect(writing=True) as connection, _locked(database, connection):
        before = await connection.run_sync(revision_of)
        if before is not None and before not in _known():
            raise SchemaOutdated(
                f"{database.explain_url()}: its schema is {before}, which this version does not know: "
                "run a newer version of cdrhub"
            )
        if before is None:
            await _refuse_foreign_tables(database, connection)
        await connection.run_sync(_upgrade)
        return before, newest()


def _upgrade(connection: Connection) -> None:
    drop_views(connection)
    command.upgrade(_config(connection), "head")
    create_views(connection)


@asynccontextmanager
async def _locked(database: Database, connection: AsyncConnection) -> AsyncIterator[None]:
    """Nobody else upgrades. SQLite's write transaction has that lock already."""
    if database.kind == "postgresql":
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
            await connection.execute(text("SET sql_notes = 1"))
            await connection.execute(text("DO RELEASE_LOCK(:name)"), name)
    else:
        yield
