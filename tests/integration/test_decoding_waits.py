"""A record of old settings that must be read again while a batch is written, and no descriptor to read its zone by."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from cdrhub.hub.decoders import Decoders
from cdrhub.hub.ownership import Ownership
from cdrhub.hub.pipeline import Pipeline
from cdrhub.journal import Journal
from cdrhub.metrics import Metrics
from cdrhub.model.record import RawRecord, Revision, digest_of
from cdrhub.model.update import CallUpdate
from cdrhub.sources.registry import system
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.calls import one
from support.descriptors import no_free_descriptor
from support.intake import until
from support.processes import python

LINE = (
    b"Call 1,00000172FF10D141_1,00:00:10,2026/03/09 10:00:00,2026/03/09 10:00:05,2026/03/09 10:00:15,%b,"
    b"0266904995,Ext.114,10000,114,114,,,,,,,,Chain: 0266904995;Ext.114;"
)
ITS = Ownership(owner="pbx", system="3cx", tenant="", settle_seconds=3.0, decoder_revision=1)


def record(ended_by: bytes, *, revision: str) -> RawRecord:
    """One of several of the same call."""
    line = LINE % ended_by
    return RawRecord(
        source="pbx",
        received_at=datetime.now(UTC),
        content_type="text/plain",
        body=line,
        digest=digest_of(line),
        config_revision=revision,
    )


async def test_a_batch_that_waits_for_a_descriptor_does_not_accuse_the_database(tmp_path: Path) -> None:
    decoders = Decoders()
    model = system("3cx").config_model.settings_model
    for revision, zone in (("old", "Asia/Kathmandu"), ("new", "UTC")):
        settings = model.model_validate({"timezone": zone}).model_dump_json()
        decoders.learn(Revision(revision=revision, source="pbx", system="3cx", settings=settings))
    first = record(b"TerminatedBySrc", revision="old")
    update = decoders.decode(first)
    assert isinstance(update, CallUpdate)
    item = Item(
        record=first, outcome=update, owner="pbx", system="3cx", tenant="", settle_seconds=3.0, decoder_revision=1
    )
    known = decoders.revisions().values()
    decoders = Decoders()  # as after a start
    for settings_known in known:
        decoders.learn(settings_known)
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}", redecode=decoders.decode, remembered=0)
    journal = await Journal.open(tmp_path)
    try:
        await store.prepare()
        await store.write([item])
        assert await store.revisions() == []  # what reads the database is connected
        assert isinstance(decoders.decode(record(b"TerminatedByDst", revision="new")), CallUpdate)
        ZoneInfo.clear_cache()
        pipeline = Pipeline(
            journal=journal,
            store=store,
            decoders=decoders,
            ownership=lambda _source, _system: ITS,
            metrics=Metrics(),
            observer=lambda _record, _outcome: None,
            lanes=1,
            batch_records=10,
        )
        working = asyncio.create_task(pipeline.run())
        try:
            with no_free_descriptor():
                await journal.append([record(b"TerminatedByDst", revision="new")])
                await until(lambda: pipeline.problem is not None, "the record waits")
                assert pipeline.problem == "records cannot be decoded and wait in the journal: Too many open files"
            await pipeline.drain()
            assert pipeline.problem is None
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
        assert (await one(store, update.call_key))["record_count"] == 2
    finally:
        await journal.close()
        await store.close()


NUMBERS_OF_NEW_COUNTRIES = """
import asyncio, sys
from pathlib import Path
from cdrhub.hub.hub import Hub
from cdrhub.model.numbers import NumberPlan, read_number
from support.descriptors import no_free_descriptor
from support.hubs import configured

async def run(folder):
    await (await Hub.start(configured(folder, ""))).stop()

asyncio.run(run(Path(sys.argv[1])))
with no_free_descriptor():
    print(*[read_number(number, NumberPlan()).e164 for number in sys.argv[2:]])
"""


def test_a_hub_reads_a_number_of_a_country_never_met_before_without_a_free_descriptor(tmp_path: Path) -> None:
    """libphonenumber opened a file for it, failed, and stood still for ever at the next one."""
    numbers = ["+33612345678", "+818012345678", "+5511987654321"]
    read = python(NUMBERS_OF_NEW_COUNTRIES, str(tmp_path), *numbers)
    assert read.stdout.splitlines()[-1].split() == numbers, read.stderr
