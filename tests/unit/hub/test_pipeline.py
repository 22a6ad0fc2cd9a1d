"""The pipeline over a real journal: lanes, the contiguous checkpoint, what cannot be decoded, records that kill."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from cdrhub.errors import DecodeError, Reason
from cdrhub.hub.decoders import Decoders, DecodingWaits
from cdrhub.hub.intake import inferred
from cdrhub.hub.landmark import Landmark
from cdrhub.journal import NAMED_STARTS, SUSPECT_STARTS, Journal
from cdrhub.journal.file import DATABASE_NAME
from cdrhub.metrics import Metrics
from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.inference import Coverage, agent_inference, coverage_inference
from cdrhub.model.record import RawRecord, Revision
from cdrhub.model.update import CallUpdate
from cdrhub.sources.registry import system
from cdrhub.store.batch import Item, Outcome, Written
from cdrhub.turns import INLINE_BYTES
from support.descriptors import no_free_descriptor
from support.intake import until
from support.pipelines import LINE, REVISION, ScriptedStore, made, record, running, settings


async def test_everything_in_the_journal_is_written_once_and_in_lanes_by_call(journal: Journal) -> None:
    store, told = ScriptedStore(), list[Written]()
    pipeline = made(journal, store, wrote=told.append)
    async with running(pipeline):
        await journal.append([record(number) for number in range(57)])
        await pipeline.drain()
    assert [written.records for written in told] == store.batches
    keys = [item.outcome.call_key for item in store.items if isinstance(item.outcome, CallUpdate)]
    assert len(keys) == len(set(keys)) == 57
    assert max(store.batches) <= 20
    assert journal.stats.depth == 0


class Slow(Decoders):
    """Decodes in the event loop at once, in another thread when it is let; notes how many bytes it was given where."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.inline: list[int] = []
        self.beside: list[int] = []

    def decode(self, record: RawRecord) -> Outcome:
        if threading.current_thread() is threading.main_thread():
            self.inline.append(len(record.body))
        else:
            self.beside.append(len(record.body))
            self.let.wait(20.0)
        return super().decode(record)


async def test_others_go_on_while_a_large_record_is_decoded(journal: Journal) -> None:
    """One of six megabytes held up every answer for seconds; a small one is not worth a thread."""
    decoders, store = Slow(), ScriptedStore()
    async with running(made(journal, store, decoders=decoders)):
        for size in (INLINE_BYTES, INLINE_BYTES + 1):
            await journal.append([record(0, body=LINE.format(n=0).encode().ljust(size))])
        await until(lambda: decoders.beside)
        decoders.let.set()
        await until(lambda: len(store.items) == 2)
    assert (decoders.inline, decoders.beside) == ([INLINE_BYTES], [INLINE_BYTES + 1])


async def test_a_journal_whose_last_records_are_damaged_is_drained(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append([record(0)])
    await journal.append([record(1)])
    await journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute("UPDATE groups SET payload = x'' WHERE last = 2")
    journal, store = await Journal.open(tmp_path), ScriptedStore()
    pipeline = made(journal, store)
    async with running(pipeline), asyncio.timeout(5):
        await pipeline.drain()
    assert (len(store.items), journal.stats.damaged) == (1, 1)
    await journal.close()


class Overtaking(ScriptedStore):
    """Takes each batch after some turns of the loop, so that lanes overtake each other."""

    async def write(self, batch: Sequence[Item]) -> Written:
        for _ in range(batch[0].record.digest[0] % 16):
            await asyncio.sleep(0)
        return await super().write(batch)


async def test_what_was_seen_of_a_source_and_of_an_agent_is_written_in_its_order(journal: Journal) -> None:
    store, noon = Overtaking(), datetime(2026, 3, 9, 12, tzinfo=UTC)
    seconds = [noon + timedelta(seconds=number) for number in range(100)]
    said = [coverage_inference(Coverage(state="connected", since=at, until=None)) for at in seconds]
    said += [
        agent_inference(
            AgentState(kind=AgentKind.STATE, agent_id="7", state=AgentWord.WAITING, state_raw="Waiting", at=at)
        )
        for at in seconds
    ]
    await journal.append([inferred(one, source="pbx", revision=REVISION) for one in said])
    pipeline = made(journal, store, lanes=4)
    async with running(pipeline):
        await pipeline.drain()
    outcomes = [item.outcome for item in store.items]
    assert [one.since for one in outcomes if isinstance(one, Coverage)] == seconds
    assert [one.at for one in outcomes if isinstance(one, AgentState)] == seconds


class Noting(Overtaking):
    """Notes the calls of which two lanes have records in hand at once."""

    def __init__(self) -> None:
        super().__init__()
        self.in_hand: set[str] = set()
        self.shared: set[str] = set()

    async def write(self, batch: Sequence[Item]) -> Written:
        keys = {item.outcome.call_key for item in batch if isinstance(item.outcome, CallUpdate)}
        self.shared |= keys & self.in_hand
        self.in_hand |= keys
        try:
            return await super().write(batch)
        finally:
            self.in_hand -= keys


async def test_no_two_lanes_have_records_of_one_call_in_hand(journal: Journal) -> None:
    bodies = [f"{LINE.format(n=call)}Ext.{number};".encode() for number in range(20) for call in range(5)]
    await journal.append([record(0, body=body) for body in bodies])
    store = Noting()
    pipeline = made(journal, store, lanes=4)
    async with running(pipeline):
        await pipeline.drain()
    assert len(store.items) == 100
    assert len({item.outcome.call_key for item in store.items if isinstance(item.outcome, CallUpdate)}) == 5
    assert store.shared == set()


async def test_a_duplicate_is_no_landmark(journal: Journal) -> None:
    first, second = record(1), record(2)
    pipeline = made(journal, ScriptedStore(), lanes=1)
    async with running(pipeline):
        for each in (first, second, first):
            await journal.append([each])
            await pipeline.drain()
    assert pipeline.landmark == Landmark.of(second)


async def test_the_first_batches_after_a_start_are_small(journal: Journal) -> None:
    """So that the checkpoint moves soon, also in a process that does not live long."""
    store = ScriptedStore()
    await journal.append([record(number) for number in range(1_000)])
    pipeline = made(journal, store, lanes=1, batch_records=300)
    async with running(pipeline):
        await pipeline.drain()
    assert store.batches == [50, 100, 200, 300, 300, 50]


async def test_the_checkpoint_does_not_pass_what_a_slow_lane_still_holds(journal: Journal) -> None:
    store = ScriptedStore()
    store.hold = asyncio.Event()
    records = [record(number) for number in range(60)]
    store.held_digest = records[0].digest
    pipeline = made(journal, store)
    async with running(pipeline):
        await journal.append(records)
        for _ in range(200):
            await asyncio.sleep(0.005)
            if len(store.items) > 5:
                break
        assert store.items
        assert records[0].digest not in {item.record.digest for item in store.items}
        assert journal.stats.depth == 60
        store.hold.set()
        await pipeline.drain()
    assert len(store.items) == 60


async def test_the_checkpoint_does_not_pass_what_a_slow_lane_still_holds_when_all_others_have_written(
    journal: Journal,
) -> None:
    store = ScriptedStore()
    store.hold = asyncio.Event()
    records = [record(number) for number in range(20)]
    store.held_digest = records[0].digest
    pipeline = made(journal, store, lanes=256)  # no other record waits in its lane
    async with running(pipeline):
        for each in records:
            await journal.append([each])
            await asyncio.sleep(0.005)
        assert store.items
        assert journal.stats.depth == 20
        store.hold.set()
        await pipeline.drain()
    assert len(store.items) == 20


class LacksADescriptor(ScriptedStore):
    """Has none to read by what is in hand already of the call of one record."""

    def __init__(self, lacking: RawRecord) -> None:
        super().__init__()
        self.lacking: RawRecord | None = lacking

    async def write(self, batch: Sequence[Item]) -> Written:
        if any(item.record == self.lacking for item in batch):
            raise DecodingWaits("Too many open files")
        return await super().write(batch)


async def test_a_batch_that_waits_for_a_descriptor_says_so_whatever_else_is_decoded_and_written(
    journal: Journal,
) -> None:
    records = [record(number) for number in range(40)]
    store = LacksADescriptor(records[0])
    pipeline = made(journal, store, lanes=4, patience=0.0)
    async with running(pipeline):
        await journal.append(records[:1])
        waits = "records cannot be decoded and wait in the journal: Too many open files"
        await until(lambda: pipeline.problem == waits)
        await journal.append(records[1:])
        await until(lambda: store.batches)
        assert pipeline.problem == waits
        store.lacking = None
        await pipeline.drain()
        assert pipeline.problem is None
    assert len(store.items) == 40


async def test_a_decoder_that_cannot_be_made_without_a_descriptor_is_waited_for(journal: Journal) -> None:
    """Its zone is read from a file when its first record comes: that says nothing of the record."""
    store = ScriptedStore()
    zoned = (
        system("3cx").config_model.settings_model.model_validate({"timezone": "Pacific/Kiritimati"}).model_dump_json()
    )
    await store.remember_revision(Revision(revision="zoned", source="pbx", system="3cx", settings=zoned))
    ZoneInfo.clear_cache()
    pipeline = made(journal, store)
    await journal.append([record(1, revision="zoned")])
    async with running(pipeline, suspect=True):
        with no_free_descriptor():
            # Nor does it if somebody ends the process meanwhile.
            await until(lambda: pipeline.problem is not None and journal.in_flight is None)
        assert pipeline.problem == "records cannot be decoded and wait in the journal: Too many open files"
        await pipeline.drain()
    assert [type(item.outcome) for item in store.items] == [CallUpdate]
    assert pipeline.problem is None


async def test_settings_that_only_the_database_knows_are_learnt_from_it(journal: Journal) -> None:
    store = ScriptedStore()
    await store.remember_revision(Revision(revision="older", source="pbx", system="3cx", settings=settings()))
    pipeline = made(journal, store)
    async with running(pipeline):
        await journal.append([record(1, revision="older")])
        await pipeline.drain()
    assert isinstance(store.items[0].outcome, CallUpdate)


async def test_what_is_not_understood_or_says_nothing_of_a_call_is_counted_and_said(journal: Journal) -> None:
    store, metrics = ScriptedStore(), Metrics()
    lists = system("enigma").config_model.settings_model().model_dump_json()
    await store.remember_revision(Revision(revision="lists", source="pbx", system="enigma", settings=lists))
    unmapped = b'{"type": "cdr", "payload": {"call_ref": "1", "end_reason": "exploded"}}'
    bodies = [b'{"type": "queue_calls"}', b'{"type": "stats"}', unmapped, b"no JSON", b"nor this"]
    with capture_logs() as said:
        async with running(pipeline := made(journal, store, lanes=1, metrics=metrics)):
            await journal.append([record(0, revision="lists", body=body) for body in bodies])
            await pipeline.drain()
    assert [each["action"] for each in said] == ["ignored_message", "suspended"]
    text = metrics.text().decode()
    for why in ("type_queue_calls", "type_stats"):
        assert f'cdrhub_messages_ignored_total{{source="pbx",why="{why}"}} 1.0' in text
    assert 'cdrhub_unmapped_words_total{source="pbx"} 1.0' in text


async def test_records_whose_settings_are_lost_are_suspended(journal: Journal) -> None:
    store = ScriptedStore()
    pipeline = made(journal, store)
    async with running(pipeline):
        await journal.append([record(1, revision="nowhere"), record(2)])
        await pipeline.drain()
    outcomes = {item.record.config_revision: item.outcome for item in store.items}
    lost = outcomes["nowhere"]
    assert isinstance(lost, DecodeError)
    assert lost.reason is Reason.BAD_VALUE
    assert isinstance(outcomes[REVISION], CallUpdate)


async def test_the_record_that_kills_the_process_is_found_and_suspended(tmp_path: Path) -> None:
    """The process dies at record 4 each time: after some starts exactly that record is in suspense."""
    killer = record(4)
    opened = await Journal.open(tmp_path)
    await opened.append([record(number) if number != 4 else killer for number in range(8)])
    await opened.close()

    store = ScriptedStore()
    for _ in range(SUSPECT_STARTS + NAMED_STARTS + 2):
        opened = await Journal.open(tmp_path)
        deaths = await opened.begin_run()
        suspect = deaths >= SUSPECT_STARTS
        named = opened.named
        if suspect and named is not None:
            break
        if suspect:
            # Record by record up to the one that kills: what the pipeline does before it decodes.
            for entry in await opened.read(after=0, limit=100, max_bytes=1 << 20):
                await opened.mark_in_flight(entry.seq)
                if entry.record.digest == killer.digest:
                    break
                await opened.checkpoint(entry.seq)
        await _die(opened)
    else:
        pytest.fail("the record was never named")

    pipeline = made(opened, store)
    async with running(pipeline, suspect=True):
        await pipeline.drain()
    await opened.close()
    poisoned = [item.record.digest for item in store.items if isinstance(item.outcome, DecodeError)]
    assert poisoned == [killer.digest]
    outcome = next(item.outcome for item in store.items if item.record.digest == killer.digest)
    assert isinstance(outcome, DecodeError)
    assert outcome.reason is Reason.POISON


async def test_a_suspect_is_marked_alone_until_it_is_in_the_database(journal: Journal) -> None:
    """Who dies meanwhile accuses this record, and no other."""
    records = [record(number) for number in range(3)]
    await journal.append(records)
    store = ScriptedStore()
    pipeline = made(journal, store)
    first, second = asyncio.Event(), asyncio.Event()
    store.hold, store.held_digest = first, records[0].digest
    async with running(pipeline, suspect=True):
        await until(lambda: journal.in_flight == 1)
        await asyncio.sleep(0.05)
        assert (journal.in_flight, pipeline.tried.is_set()) == (1, False)
        store.hold, store.held_digest = second, records[1].digest
        first.set()
        await until(lambda: journal.in_flight == 2)
        assert pipeline.tried.is_set()
        assert [item.record.digest for item in store.items] == [records[0].digest]
        second.set()
        await pipeline.drain()


async def test_a_suspect_is_marked_again_when_it_has_waited_for_the_database(journal: Journal) -> None:
    store, suspect = ScriptedStore(), record(1)
    store.away, store.hold, store.held_digest = 1, asyncio.Event(), suspect.digest
    await journal.append([suspect])
    pipeline = made(journal, store)
    async with running(pipeline, suspect=True):
        await until(lambda: not store.away and journal.in_flight is None)
        await until(lambda: journal.in_flight == 1)
        store.hold.set()
        await pipeline.drain()


async def test_records_behind_the_suspects_go_together_and_unmarked(journal: Journal) -> None:
    class Looking(ScriptedStore):
        marked: ClassVar[list[int | None]] = []

        async def write(self, batch: Sequence[Item]) -> Written:
            self.marked.append(journal.in_flight)
            return await super().write(batch)

    store = Looking()
    await journal.append([record(number) for number in range(40)])
    async with running(pipeline := made(journal, store, lanes=1, batch_records=10), suspect=True):
        await pipeline.drain()
    assert store.batches == [1] * 10 + [10] * 3
    assert store.marked == [*range(1, 11), None, None, None]


async def test_a_suspect_that_waits_for_the_database_is_not_accused(tmp_path: Path) -> None:
    """Whoever ends the process while the database is away, any number of times, says nothing of the record."""
    opened = await Journal.open(tmp_path)
    await opened.append([record(1)])
    await opened.close()
    for start in range(3 * (SUSPECT_STARTS + NAMED_STARTS)):
        opened = await Journal.open(tmp_path)
        suspect = await opened.begin_run() >= SUSPECT_STARTS
        assert opened.named is None, f"accused at start {start}"
        store = ScriptedStore()
        store.away = 1_000
        pipeline = made(opened, store)
        async with running(pipeline, suspect=suspect):
            await until(lambda: store.away < 1_000 and opened.in_flight is None)  # noqa: B023 - awaited within the turn
            assert pipeline.tried.is_set(), "sources need not wait for it"
        await _die(opened)
    opened = await Journal.open(tmp_path)
    store = ScriptedStore()
    pipeline = made(opened, store)
    async with running(pipeline, suspect=await opened.begin_run() >= SUSPECT_STARTS):
        await pipeline.drain()
    await opened.close()
    assert [type(item.outcome) for item in store.items] == [CallUpdate]


async def _die(journal: Journal) -> None:
    """End as a killed process does, as far as one process can: nothing is noted any more."""
    journal._began_run = False
    await journal.close()
