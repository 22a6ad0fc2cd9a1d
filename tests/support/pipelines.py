"""A pipeline between a real journal and a scripted store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

from cdrhub.errors import DecodeError, StoreUnavailable
from cdrhub.hub.decoders import Decoders
from cdrhub.hub.ownership import Ownership
from cdrhub.hub.pipeline import HELD_UP_SECONDS, Pipeline
from cdrhub.journal import Journal
from cdrhub.metrics import Metrics
from cdrhub.model.record import RawRecord, Revision
from cdrhub.sources.registry import system
from cdrhub.store.batch import Item, Outcome, Written
from support.records import raw_record

REVISION = "0123456789abcdef"
LINE = "Call {n},{n:016X}_{n},00:00:10,2026/03/09 10:00:00,2026/03/09 10:00:05,2026/03/09 10:00:15,TerminatedBySrc,"
LINE += "0266904995,Ext.114,10000,114,114,,,,,,,,Chain: 0266904995;Ext.114;"


class ScriptedStore:
    """A store that keeps batches in memory, and can be away, slow in one lane, or know more revisions."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.batches: list[int] = []
        self.away = 0
        self.why = StoreUnavailable("away")
        self.hold: asyncio.Event | None = None
        self.held_digest: bytes | None = None
        self.known: dict[str, Revision] = {}

    async def write(self, batch: Sequence[Item]) -> Written:
        """See `Writer.write`."""
        if self.away:
            self.away -= 1
            raise self.why
        if self.hold is not None and any(item.record.digest == self.held_digest for item in batch):
            await self.hold.wait()
        old = {item.record.digest for item in self.items}
        new = [item for item in batch if item.record.digest not in old]
        self.items += new
        self.batches.append(len(batch))
        return Written(
            records=len(batch),
            new=len(new),
            duplicates=len(batch) - len(new),
            suspended=sum(isinstance(item.outcome, DecodeError) for item in new),
            by_source={"pbx": {"applied": len(new), "duplicates": len(batch) - len(new)}},
        )

    async def remember_revision(self, revision: Revision) -> None:
        """See `Writer.remember_revision`."""
        self.known.setdefault(revision.revision, revision)

    async def revisions(self) -> list[Revision]:
        """See `Writer.revisions`."""
        return list(self.known.values())


def record(number: int, *, revision: str = REVISION, body: bytes | None = None) -> RawRecord:
    """A record of 3CX, of a call of its own."""
    line = body if body is not None else LINE.format(n=number).encode()
    return raw_record(line, source="pbx", received_at=datetime.now(UTC), config_revision=revision)


def settings() -> str:
    """The decode settings under which it is read."""
    return system("3cx").config_model.settings_model().model_dump_json()


def made(
    journal: Journal,
    store: ScriptedStore,
    *,
    lanes: int = 2,
    batch_records: int = 10,
    metrics: Metrics | None = None,
    patience: float = HELD_UP_SECONDS,
    wrote: Callable[[Written], None] = lambda _: None,
    decoders: Decoders | None = None,
) -> Pipeline:
    """A pipeline from this journal into this store."""
    decoders = decoders or Decoders()
    decoders.learn(Revision(revision=REVISION, source="pbx", system="3cx", settings=settings()))

    def ownership(source: str, system_name: str) -> Ownership:
        return Ownership(owner=source, system=system_name, tenant="", settle_seconds=3.0, decoder_revision=1)

    def observer(record: RawRecord, outcome: Outcome) -> None:
        assert record.source == "pbx"

    return Pipeline(
        journal=journal,
        store=store,
        decoders=decoders,
        ownership=ownership,
        metrics=metrics or Metrics(),
        observer=observer,
        lanes=lanes,
        batch_records=batch_records,
        patience=patience,
        wrote=wrote,
    )


@contextlib.asynccontextmanager
async def running(pipeline: Pipeline, *, suspect: bool = False) -> AsyncIterator[None]:
    """`pipeline` at work."""
    task = asyncio.create_task(pipeline.run(suspect=suspect))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
