"""The pipeline while the database is away, or holds a batch up: when it tries again, and what a person is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from cdrhub.errors import StoreDamaged, StoreUnavailable
from cdrhub.hub import pipeline as pipeline_module
from cdrhub.journal import Journal
from cdrhub.metrics import Metrics
from cdrhub.model.record import RawRecord
from cdrhub.store.batch import Item, Written
from support.intake import until
from support.pipelines import ScriptedStore, made, record, running


def trying_again(monkeypatch: pytest.MonkeyPatch, *, after: float, of_a_lane: float) -> None:
    """A lane tries again after so many seconds at first, `of_a_lane` at least where another has found the database."""
    monkeypatch.setattr(pipeline_module, "FIRST_RETRY_SECONDS", after)
    monkeypatch.setattr(pipeline_module, "LANE_RETRY_SECONDS", of_a_lane)


@pytest.mark.parametrize(
    ("why", "action", "problem"),
    [
        (StoreUnavailable("why"), "database_away", "the database is away: records wait in the journal"),
        (
            StoreDamaged("why"),
            "database_damaged",
            "the database is damaged: records wait in the journal until it is restored",
        ),
    ],
)
async def test_a_database_that_is_away_is_tried_again_until_it_is_back(
    journal: Journal, why: StoreUnavailable, action: str, problem: str
) -> None:
    store, metrics = ScriptedStore(), Metrics()
    store.away, store.why = 2, why
    pipeline = made(journal, store, lanes=1, metrics=metrics)
    with capture_logs() as said:
        async with running(pipeline):
            await journal.append([record(1)])
            await until(lambda: pipeline.problem == problem)
            await pipeline.drain()
            assert pipeline.problem is None
            await journal.append([record(2)])
            await pipeline.drain()
    assert [(each["action"], each.get("error")) for each in said] == [(action, "why"), ("database_back", None)]
    assert len(store.items) == 2
    assert b"cdrhub_database_retries_total 2.0" in metrics.text()
    assert b"cdrhub_database_up 1.0" in metrics.text()


async def test_a_batch_that_the_database_holds_up_is_said(journal: Journal) -> None:
    store = ScriptedStore()
    first = record(1)
    store.hold, store.held_digest = asyncio.Event(), first.digest
    await journal.append([first])
    pipeline = made(journal, store, patience=0.0)
    async with running(pipeline):
        await until(lambda: pipeline.problem is not None)
        said = "the database has not taken a batch for 0 s: another client may hold a lock, or its disk be slow"
        assert pipeline.problem == said
        store.hold.set()
        await pipeline.drain()
        assert pipeline.problem is None


class AwayForOne(ScriptedStore):
    """Is away for the first batch with one record, and there for all others, which it takes after that."""

    def __init__(self, record: RawRecord) -> None:
        super().__init__()
        self.record: RawRecord | None = record
        self.met = asyncio.Event()
        self.met_by = 0

    async def write(self, batch: Sequence[Item]) -> Written:
        if any(item.record == self.record for item in batch):
            self.record = None
            self.met_by = len(batch)
            self.met.set()
            raise self.why
        await self.met.wait()
        return await super().write(batch)


async def test_a_lane_that_met_no_database_goes_on_when_another_has_found_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for up to fifteen seconds more, in which redial waited too and another client's lock was suspected."""
    trying_again(monkeypatch, after=3600.0, of_a_lane=0.05)
    records = [record(number) for number in range(20)]
    store = AwayForOne(records[0])
    pipeline = made(journal, store, lanes=4, patience=1.0)
    async with running(pipeline), asyncio.timeout(20):
        await journal.append(records)
        await pipeline.drain()
        assert pipeline.problem is None
    assert store.record is None
    assert len(store.items) == 20


async def test_a_lane_that_has_met_no_database_has_no_batch_that_anybody_holds_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying_again(monkeypatch, after=3600.0, of_a_lane=3600.0)
    records = [record(number) for number in range(20)]
    store = AwayForOne(records[0])
    pipeline = made(journal, store, lanes=4, patience=0.0)
    async with running(pipeline):
        await journal.append(records)
        await until(lambda: len(store.items) + store.met_by == 20)
        assert pipeline.problem is None


class AwayThenHeldUp(AwayForOne):
    """Holds that batch up when it comes again, and notes when it came."""

    def __init__(self, record: RawRecord) -> None:
        super().__init__(record)
        self.hold, self.held_digest = asyncio.Event(), record.digest
        self.came: list[float] = []

    async def write(self, batch: Sequence[Item]) -> Written:
        if any(item.record.digest == self.held_digest for item in batch):
            self.came.append(asyncio.get_running_loop().time())
        return await super().write(batch)


async def test_a_batch_is_held_up_from_when_it_was_tried_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying_again(monkeypatch, after=3600.0, of_a_lane=1.2)
    records = [record(number) for number in range(20)]
    store = AwayThenHeldUp(records[0])
    pipeline = made(journal, store, lanes=4, patience=1.0)
    async with running(pipeline):
        await journal.append(records)
        await until(lambda: pipeline.problem is not None and len(store.items) + store.met_by == 20)
        first, again = store.came
        said = "the database has not taken a batch for 1 s: another client may hold a lock, or its disk be slow"
        assert pipeline.problem == said
        assert again - first >= 1.1
        assert asyncio.get_running_loop().time() - again >= 1.0
        assert store.hold is not None
        store.hold.set()
        await pipeline.drain()
        assert pipeline.problem is None


class AwayForLong(ScriptedStore):
    """Notes when it was asked."""

    def __init__(self, *, away: int) -> None:
        super().__init__()
        self.away = away
        self.asked: list[float] = []

    async def write(self, batch: Sequence[Item]) -> Written:
        self.asked.append(asyncio.get_running_loop().time())
        return await super().write(batch)


async def test_a_database_that_stays_away_is_asked_more_and_more_seldom_within_a_limit(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(pipeline_module, "LAST_RETRY_SECONDS", 0.2)
    monkeypatch.setattr(pipeline_module, "LANE_RETRY_SECONDS", 0.01)
    store = AwayForLong(away=9)
    await journal.append([record(1)])
    pipeline = made(journal, store)
    async with running(pipeline), asyncio.timeout(15):  # half a minute without the limit
        await pipeline.drain()
    waited = [after - before for before, after in pairwise(store.asked)]
    for seconds, least in zip(waited, [0.05, 0.1, *[0.2] * 7], strict=True):
        assert seconds >= 0.9 * least


async def test_a_lane_waits_its_time_while_nobody_has_found_the_database(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one had found it before the outage says nothing: each would try again every second."""
    trying_again(monkeypatch, after=3600.0, of_a_lane=0.01)
    store, metrics = ScriptedStore(), Metrics()
    pipeline = made(journal, store, lanes=1, metrics=metrics)
    async with running(pipeline):
        await journal.append([record(1)])
        await pipeline.drain()
        store.away = 100
        await journal.append([record(2)])
        await until(lambda: store.away < 100)
        await asyncio.sleep(0.2)
        assert store.away == 99
