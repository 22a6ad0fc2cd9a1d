"""Joining: records that opened no call, and the call that another hub made meanwhile, brought together.

One thing two hubs can do that no lock of a row prevents: one finds no call for a record that opens none and lets it
wait, while the other makes the call and does not see yet that anything waits. Both commit. So now and then what waits
is looked at again; where its call exists by then, the record becomes part of it as if it had just arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Select, and_, or_, select

from cdrhub.model.update import CallUpdate
from cdrhub.store.batch import Item
from cdrhub.store.engine import Database, RacedError, RefusedError
from cdrhub.store.folding import Folded, FoldError, Folding, Group, record_key
from cdrhub.store.tables import calls, unopened
from cdrhub.store.transaction import CallKey, Transaction, by_source

log = structlog.get_logger(__name__)

AT_ONCE = 100  #: calls that are looked at together
LOOK_BACK = timedelta(hours=1)  #: by how much hubs' clocks and the lengths of their transactions may differ
SETTLE_SECONDS = 3.0  #: until decisions are taken on a joined call; its source's own are not known here

Waiting = tuple[datetime, str, str]  #: since when, the call's key, the call's source


class Joining:
    """Passes over the table `unopened`: the first looks at all of it, the later ones at what is new since."""

    def __init__(self, database: Database, folding: Folding, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._folding = folding
        self._clock = clock
        self._looked_at: datetime | None = None

    async def apply(self) -> int:
        """One pass; says how many calls got records. Raises StoreUnavailable, and what `redecode` raises."""
        now = self._clock()
        since = None if self._looked_at is None else self._looked_at - LOOK_BACK
        joined = 0
        last: Waiting | None = None
        while waiting := await self._waiting(since=since, after=last):
            last = waiting[-1]
            if keys := await self._open_by_now({(source, key) for _, key, source in waiting}):
                joined += await self._join(keys)
        self._looked_at = now
        return joined

    async def _waiting(self, *, since: datetime | None, after: Waiting | None) -> list[Waiting]:
        async with self._database.connect() as connection:
            rows = await connection.execute(waiting_query(since=since, after=after))
            return [(row.since, row.call_key, row.source) for row in rows]

    async def _open_by_now(self, keys: Iterable[CallKey]) -> list[CallKey]:
        """Those of these calls that exist, in the order of their locks. The tables are not joined: before they are
        first analysed, that could read all calls."""
        found: list[CallKey] = []
        async with self._database.connect() as connection:
            for source, some in by_source(keys):
                known = await connection.scalars(
                    select(calls.c.call_key).where(calls.c.call_key.in_(some), calls.c.source == source)
                )
                found += [(source, key) for key in known]
        return sorted(found)

    async def _join(self, keys: Sequence[CallKey]) -> int:
        """One transaction; halved where the database refuses a value or our own code fails."""
        try:
            outcome = await self._database.write(partial(self._join_in, keys))
        except RacedError:
            return 0  # the next pass sees them again
        except (RefusedError, FoldError) as error:
            if len(keys) == 1:
                log.error("a record cannot join its call", action="join_refused", source=keys[0][0], error=str(error))
                return 0
            middle = len(keys) // 2
            return await self._join(keys[:middle]) + await self._join(keys[middle:])
        self._folding.remember(outcome)
        return outcome.updated

    async def _join_in(self, keys: Sequence[CallKey], tx: Transaction) -> Folded:
        outcome = Folded()
        if not await tx.any_unopened():
            return outcome
        known = {(call.source, call.call_key): call.id for call in await tx.lock_calls(keys)}
        waiting = await tx.unopened_of(known)
        rows = await tx.call_rows([known[key] for key in waiting])
        groups = []
        for key in sorted(waiting):
            stored = await tx.records_by_key(waiting[key])
            call = rows[known[key]]
            items: list[Item] = []
            updates: list[CallUpdate] = []
            for one in stored:
                update = None if one.record is None else await self._folding.again(one.record, key)
                if one.record is not None and update is not None:
                    updates.append(update)
                    items.append(
                        Item(
                            record=one.record,
                            outcome=update,
                            owner=key[0],
                            system=call["system"],
                            tenant=call["tenant"],
                            settle_seconds=SETTLE_SECONDS,
                            decoder_revision=one.decoder_revision,
                        )
                    )
            if items:
                read = set(map(record_key, items))
                others = [one.key for one in stored if one.record is not None and one.key not in read]
                groups.append(Group(key, known[key], items, updates, waiting=others))
        await tx.link_records((link, group.call_id) for group in groups for link in group.links)
        await tx.forget_unopened(waiting)
        if groups:
            await self._folding.refold(tx, groups, outcome, now=self._clock())
        return outcome


def waiting_query(*, since: datetime | None, after: Waiting | None) -> Select[Waiting]:
    """Calls with records waiting, the next ones in the order in which these came."""
    u = unopened.c
    query = select(u.since, u.call_key, u.source).order_by(u.since, u.call_key, u.source).limit(AT_ONCE)
    if after is not None:
        since, key, source = after
        behind = or_(u.call_key > key, and_(u.call_key == key, u.source > source))
        query = query.where(or_(u.since > since, behind))
    if since is not None:
        query = query.where(u.since >= since)
    return query
