"""The store: the one door to the database, for the pipeline, the command line and the pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Self

import orjson
from sqlalchemy import insert, select

from cdrhub.model.record import Revision
from cdrhub.store import schema
from cdrhub.store.batch import Item, Redecode, Written
from cdrhub.store.engine import CONNECTIONS, STATEMENT_SECONDS, Database, RefusedError, open_database
from cdrhub.store.folding import REMEMBERED_UPDATES, Folding
from cdrhub.store.joining import Joining
from cdrhub.store.retention import Limits, Retained, Retention
from cdrhub.store.tables import config_revisions, records
from cdrhub.store.transaction import Transaction
from cdrhub.store.write import BatchWriter


def utc_now() -> datetime:
    """The hub's clock."""
    return datetime.now(UTC)


class Store:
    """One database with cdrhub's schema. Safe to use from any number of tasks of one event loop."""

    def __init__(
        self, database: Database, *, redecode: Redecode | None, clock: Callable[[], datetime], remembered: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._folding = Folding(redecode=redecode, remembered=remembered)
        self._writer = BatchWriter(database, clock=clock, folding=self._folding)
        self._retention = Retention(database)
        self._joining = Joining(database, self._folding, clock=clock)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        redecode: Redecode | None = None,
        connections: int = CONNECTIONS,
        clock: Callable[[], datetime] = utc_now,
        seconds: float = STATEMENT_SECONDS,
        remembered: int = REMEMBERED_UPDATES,
    ) -> Self:
        """The store at `url`: `sqlite:///path`, `postgresql://…` or `mariadb://…`. Connects to nothing yet.

        `redecode` decodes an old record, when one more of its call arrives. `seconds` is how long a transaction may
        take before its connection is given up; `remembered` how many updates of recent calls are kept in memory. Raises
        StoreError for a URL that is none of these.
        """
        database = open_database(url, connections=connections, seconds=seconds)
        return cls(database, redecode=redecode, clock=clock, remembered=remembered)

    def __repr__(self) -> str:
        return f"Store({self._database.explain_url()!r})"

    @property
    def database(self) -> Database:
        """The database itself, for the other modules of the store."""
        return self._database

    @property
    def folding(self) -> Folding:
        """How calls are made and folded anew, for the other modules of the store."""
        return self._folding

    @property
    def clock(self) -> Callable[[], datetime]:
        """The store's clock."""
        return self._clock

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()

    async def prepare(self) -> None:
        """Make the schema in an empty database. Raises SchemaOutdated where there is another one, which names the
        command that helps; StoreUnavailable while the database is away."""
        await schema.prepare(self._database)

    async def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema to this version's; says the revisions before and after."""
        return await schema.upgrade(self._database)

    async def write(self, batch: Sequence[Item]) -> Written:
        """Write one batch in one transaction. Raises StoreUnavailable while the database is away: nothing is written
        then, or all of it and nobody knows; writing it again is right in both cases. What `redecode` raises for
        settings it does not know goes through."""
        return await self._writer.write(batch)

    async def join_unopened(self) -> int:
        """Join records that came before anything opened their call with calls that another hub made meanwhile, and
        say how many calls got some. Cheap where there is nothing to do; to be called now and then. Raises
        StoreUnavailable."""
        return await self._joining.apply()

    async def remember_revision(self, revision: Revision) -> None:
        """Keep decode settings under their revision. One that is there already stays as it is. Raises
        StoreUnavailable; RefusedError where the database does not take them."""
        if await self._knows_revision(revision.revision):
            return

        async def keep(tx: Transaction) -> None:
            await tx.connection.execute(
                insert(config_revisions).values(
                    revision=revision.revision,
                    source=revision.source,
                    system=revision.system,
                    settings=orjson.loads(revision.settings),
                    first_seen_at=self._clock(),
                )
            )

        try:
            await self._database.write(keep)
        except RefusedError:
            if not await self._knows_revision(revision.revision):
                raise
            # else another hub was faster, with the same settings: they are named by their content

    async def _knows_revision(self, revision: str) -> bool:
        known = select(config_revisions.c.revision).where(config_revisions.c.revision == revision)
        async with self._database.connect() as connection:
            return await connection.scalar(known) is not None

    async def revisions(self) -> Sequence[Revision]:
        """Every revision of decode settings that the database knows."""
        async with self._database.connect() as connection:
            rows = await connection.execute(select(config_revisions))
            return [
                Revision(
                    revision=row.revision,
                    source=row.source,
                    system=row.system,
                    settings=orjson.dumps(row.settings).decode(),
                )
                for row in rows
            ]

    async def has_record(self, source: str, digest: bytes) -> bool:
        """Whether a record of this content came from this source, to those who write: a reader may still be connected
        to the server that was failed over from. Raises StoreUnavailable."""
        its = select(records.c.id).where(records.c.source == source, records.c.digest == digest)
        async with self._database.connect(writing=True) as connection:
            return await connection.scalar(its) is not None

    async def newest_record(self, *, before: datetime) -> datetime | None:
        """When the record was received that was stored last of those received before; None if there is none. Raises
        StoreUnavailable."""
        newest = select(records.c.received_at).where(records.c.received_at < before).order_by(records.c.id.desc())
        async with self._database.connect(writing=True) as connection:
            moment: datetime | None = await connection.scalar(newest.limit(1))
            return moment

    async def apply_retention(self, limits: Limits, *, now: datetime) -> Retained:
        """Empty old bodies and purge old facts, in small transactions. Raises StoreUnavailable."""
        retained = await self._retention.apply(limits, now=now)
        if retained.bodies:
            self._folding.memory.clear()  # a sealed call must not be folded from what this process remembers
        return retained
