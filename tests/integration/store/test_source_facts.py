"""What is told of sources and of records that could not be understood, on every engine."""

from __future__ import annotations

from typing import Any

import pytest

from cdrhub.model.inference import Coverage, CoverageState
from cdrhub.store import Store
from cdrhub.store.source_facts import BLIND, NAMED_RECORDS, QUIET, RECOVERED, SUSPENDED
from cdrhub.store.suspense import edit, replay
from cdrhub.store.tables import outbox, records
from support.ledger import at, covered, ended, item, reread, rows


def begins(state: CoverageState, since: float, *, hub: str = "one") -> Coverage:
    return Coverage(state=state, since=at(since), until=None, detail=f"{state} now", hub=hub)


def stretch(state: CoverageState, since: float, until: float) -> Coverage:
    return Coverage(state=state, since=at(since), until=at(until), detail="", hub="one")


async def told(store: Store) -> list[tuple[str, dict[str, Any]]]:
    return [(row["type"], row["snapshot"]) for row in await rows(store, outbox)]


async def kinds(store: Store) -> list[str]:
    return [kind for kind, _ in await told(store)]


async def test_a_blind_time_is_told_once_though_it_has_two_reasons(store: Store) -> None:
    for span in (begins("connected", 0), begins("blind", 60), begins("blind", 90), begins("connected", 91)):
        await store.write([covered(span)])
    blind, recovered = await told(store)
    assert (blind[0], blind[1]["since"], blind[1]["hub"]) == (BLIND, at(60).isoformat(), "one")
    assert (blind[1]["source"], blind[1]["detail"]) == ("lagos", "blind now")
    assert recovered[0] == RECOVERED
    assert (recovered[1]["was"], recovered[1]["since"], recovered[1]["until"]) == (
        "blind",
        at(60).isoformat(),
        at(91).isoformat(),
    )


async def test_a_blind_time_that_outlives_many_restarts_has_its_begin(store: Store) -> None:
    await store.write([covered(begins("connected", 0))])
    for restart in range(40):
        await store.write([covered(begins("blind", 60 + 2 * restart)), covered(begins("blind", 61 + 2 * restart))])
    await store.write([covered(begins("connected", 900))])
    (blind, _), (recovered, said) = await told(store)
    assert (blind, recovered) == (BLIND, RECOVERED)
    assert (said["since"], said["until"]) == (at(60).isoformat(), at(900).isoformat())


async def test_the_same_in_one_batch_in_any_order(store: Store) -> None:
    spans = [begins("blind", 60), stretch("connected", 0, 60), begins("connected", 0), begins("idle", 91)]
    await store.write([covered(span) for span in reversed(spans)])
    assert await kinds(store) == [BLIND, RECOVERED]


async def test_silence_and_its_end(store: Store) -> None:
    for span in (begins("idle", 0), begins("quiet", 600), begins("idle", 700)):
        await store.write([covered(span)])
    assert [(kind, snapshot["since"]) for kind, snapshot in await told(store)] == [
        (QUIET, at(600).isoformat()),
        (RECOVERED, at(600).isoformat()),
    ]


async def test_a_source_that_never_connected_is_told_as_blind(store: Store) -> None:
    await store.write([covered(begins("blind", 0))])
    assert await kinds(store) == [BLIND]


async def test_what_came_late_the_same_twice_and_the_end_of_a_stretch_tell_nothing(store: Store) -> None:
    await store.write([covered(begins("connected", 100))])
    await store.write([covered(begins("blind", 60))])
    await store.write([covered(begins("connected", 100)), covered(stretch("blind", 60, 100))])
    assert await kinds(store) == []


async def test_each_hub_tells_what_it_sees(store: Store) -> None:
    await store.write([covered(begins("connected", 0)), covered(begins("connected", 0, hub="two"))])
    await store.write([covered(begins("blind", 60, hub="two"))])
    assert [(kind, snapshot["hub"]) for kind, snapshot in await told(store)] == [(BLIND, "two")]


async def test_records_in_suspense_are_told_together_and_once(store: Store) -> None:
    garbage = [item(b"garbage %d" % n, received=100.0 + n) for n in range(NAMED_RECORDS + 5)]
    await store.write([item(ended("good")), *garbage, item(b'{"x": 1}'), item(b"junk", source="abuja")])
    await store.write(garbage)
    facts = [snapshot for kind, snapshot in await told(store) if kind == SUSPENDED]
    assert [(fact["source"], fact["reason"], fact["count"]) for fact in facts] == [
        ("abuja", "unparsable", 1),
        ("lagos", "missing_key", 1),
        ("lagos", "unparsable", NAMED_RECORDS + 5),
    ]
    stored = {row["id"]: row for row in await rows(store, records)}
    oldest = [stored[number] for number in facts[2]["records"]]
    assert sorted(row["received_at"] for row in oldest) == [at(100 + n) for n in range(NAMED_RECORDS)]
    assert facts[2]["received_at"] == min(row["received_at"] for row in oldest).isoformat()
    assert facts[2]["detail"]


@pytest.mark.parametrize("repaired", [b"still garbage", ended("k")])
async def test_a_repair_tells_nothing_of_suspense(store: Store, repaired: bytes) -> None:
    await store.write([item(b"garbage")])
    (row,) = await rows(store, records)
    await edit(store, row["id"], repaired, actor="ada")
    await replay(store, [row["id"]], reread=reread, actor="ada")
    assert [kind for kind in await kinds(store) if kind == SUSPENDED] == [SUSPENDED]
