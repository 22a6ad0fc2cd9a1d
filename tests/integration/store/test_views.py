"""The views: the same rows on every engine, and their figures."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from cdrhub.model.inference import Coverage
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.views import VIEWS
from support import ledger
from support.ledger import at, covered, ended, item, message, story, updated

PASSING = {"id", "updated_at", "sort_at"}


def contents() -> list[Item]:
    """A day of a contact centre."""
    overflow = [
        message(
            "overflow",
            values={"state": "ended", "direction": "inbound", "started_at": 3590.0, "ended_at": 3700.4},
            legs={
                "1": {
                    "role": "queue", "queue": "sales", "queue_id": "8000", "outcome": "overflow",
                    "offered_at": 3591.0, "left_at": 3620.5,
                },
                "2": {
                    "role": "queue", "queue": "Ünïon \U0001f4de", "outcome": "abandoned",
                    "offered_at": 3620.5, "left_at": 3699.999999,
                },
                "3": {"role": "queue", "queue": "never", "outcome": "unknown"},
            },
            final=True,
        )
    ]  # fmt: skip
    price = updated(item(ended("price", 90)), values={"state": "ended", "cost": Decimal("0.0700")})
    return [
        *(item(ended(f"k{n}", n * 1800)) for n in range(6)),
        *(item(body) for n in range(3) for body in story(f"q{n}", n * 60)),
        *(item(body) for body in overflow),
        item(story("waiting", 7200)[0]),
        price,
        item(b"garbage"),
        covered(Coverage(state="connected", since=at(0), until=None, detail="a", hub="one")),
        covered(Coverage(state="connected", since=at(0), until=at(7.5), detail="a", hub="one")),
        covered(Coverage(state="blind", since=at(7.5), until=None, detail="b", hub="one")),
    ]


async def view(store: Store, name: str) -> list[dict[str, Any]]:
    """All rows of a view as plain values."""
    async with store.database.connect() as connection:
        found = [dict(row._mapping) for row in await connection.execute(text(f"SELECT * FROM {name}"))]
    for row in found:
        for column in ("attributes", "flags"):
            if isinstance(row.get(column), str):
                row[column] = orjson.loads(row[column])
    return sorted(found, key=repr)


async def all_views(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Every view without what differs from run to run."""
    return {
        name: sorted(({k: v for k, v in row.items() if k not in PASSING} for row in await view(store, name)), key=repr)
        for name in VIEWS
    }


async def test_identical_output(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    await store.write(contents())
    reference = Store.open(f"sqlite:///{tmp_path_factory.mktemp('views')}/v.db", redecode=ledger.decode)
    await reference.prepare()
    await reference.write(contents())
    mine, its = await all_views(store), await all_views(reference)
    await reference.close()
    for name in VIEWS:
        assert mine[name] == its[name], name
        assert [list(row) for row in mine[name]] == [list(row) for row in its[name]], name
        assert mine[name], name
    types = {type(value) for rows in mine.values() for row in rows for value in row.values()}
    assert types == {str, int, dict, list, type(None)}


async def test_queue_figures(store: Store) -> None:
    await store.write(contents())
    found = {(row["hour"], row["queue"]): row for row in await view(store, "v_queue_hourly")}
    ten = found["2026-03-09T10:00:00Z", "sales"]
    assert (ten["offered"], ten["answered"], ten["abandoned"], ten["overflow"]) == (4, 3, 0, 1)
    assert (ten["wait_seconds"], ten["wait_seconds_answered"], ten["longest_wait_seconds"]) == (7 * 3 + 30, 21, 30)
    assert (ten["wait_known"], ten["wait_known_answered"], ten["wait_known_abandoned"]) == (4, 3, 0)
    union = found["2026-03-09T11:00:00Z", "Ünïon \U0001f4de"]
    assert (union["offered"], union["abandoned"], union["wait_seconds_abandoned"]) == (1, 1, 79)
    assert (union["wait_seconds_answered"], union["wait_known_answered"], union["wait_known_abandoned"]) == (None, 0, 1)
    waiting = found["2026-03-09T12:00:00Z", "sales"]
    assert (waiting["offered"], waiting["still_waiting"], waiting["wait_seconds"]) == (1, 1, None)
    for row in found.values():
        flow_outs = ("timed_out", "queue_full", "join_empty", "no_agent", "exit_key", "overflow", "outcome_unknown")
        assert row["offered"] == row["answered"] + row["abandoned"] + sum(row[name] for name in flow_outs)


@pytest.mark.parametrize(
    ("offered", "left", "seconds"),
    [(0.8763, 7.0, 6), (0.0, 7.8763, 8)],
    ids=["from .999756 to .123456", "from .123456 to .999756"],
)
async def test_a_wait_that_begins_or_ends_in_the_last_half_millisecond_of_a_second(
    store: Store, offered: float, left: float, seconds: int
) -> None:
    leg = {"role": "queue", "queue": "sales", "outcome": "abandoned", "offered_at": offered, "left_at": left}
    await store.write([item(message("k", values={"state": "ended", "started_at": 0.0}, legs={"1": leg}, final=True))])
    (row,) = await view(store, "v_queue_hourly")
    assert row["wait_seconds"] == seconds


async def test_agent_figures(store: Store) -> None:
    await store.write(contents())
    (ten,) = [row for row in await view(store, "v_agent_hourly") if row["hour"] == "2026-03-09T10:00:00Z"]
    assert (ten["agent_id"], ten["agent_name"]) == ("102", "Ade")
    assert (ten["offered"], ten["answered"], ten["talk_seconds"], ten["ring_seconds"]) == (6, 6, 180 + 159, 30)


def somebody(key: str, **who: str) -> Item:
    """A call in which this person was rung, and did not answer."""
    its = {"role": "agent", "outcome": "no_answer", "offered_at": 1.0, "ring_seconds": 5, **who}
    return item(message(key, values={"state": "ended", "started_at": 0.0}, legs={"1": its}, final=True))


async def test_an_agent_has_one_row_in_an_hour(store: Store) -> None:
    await store.write(
        [
            somebody("a", agent_id="7001"),
            somebody("b", agent_id="7001", agent_name="Ade", agent_extension="201"),
            somebody("c", agent_id="7001", agent_name="Ade", team="north"),
            somebody("d", agent_id="7002", team="north"),
            somebody("e", agent_id="7002", team="south"),
            somebody("f", agent_extension="7001"),
            somebody("g", agent_extension="7001", agent_name="Bola"),
            somebody("h", agent_name="Bola"),
            somebody("i"),
        ]
    )
    columns = ("agent_id", "agent_extension", "agent_name", "team", "offered", "ring_seconds")
    found = {tuple(row[name] for name in columns) for row in await view(store, "v_agent_hourly")}
    assert found == {
        ("7001", "201", "Ade", "north", 3, 15),
        ("7002", None, None, None, 2, 10),  # of two teams
        (None, "7001", "Bola", None, 2, 10),  # an extension is no id
        (None, None, "Bola", None, 1, 5),
        (None, None, None, None, 1, 5),
    }


async def test_a_queue_has_one_row_in_an_hour(store: Store) -> None:
    named = [{"queue_id": "8000"}, {"queue_id": "8000", "queue": "8000"}, {"queue_id": "8000", "queue": "1st line"}]
    others = [{"queue_id": "8001", "queue": "8001"}, {"queue": "8000"}, {}]
    await store.write(
        [
            item(message(f"k{n}", values={"state": "ended", "started_at": 0.0}, legs={"1": leg}, final=True))
            for n, names in enumerate(named + others)
            for leg in [{"role": "queue", "outcome": "abandoned", "offered_at": 1.0, **names}]
        ]
    )
    found = {(row["queue_id"], row["queue"], row["abandoned"]) for row in await view(store, "v_queue_hourly")}
    assert found == {("8000", "1st line", 3), ("8001", "8001", 1), (None, "8000", 1), (None, None, 1)}


async def test_calls_show_times_and_money_as_text(store: Store) -> None:
    await store.write(contents())
    by_key = {row["call_key"]: row for row in await view(store, "v_calls")}
    assert by_key["k1"]["started_at"] == "2026-03-09T10:30:00.123456Z"
    assert by_key["price"]["cost"] == "0.0700"
    assert by_key["waiting"]["ended_at"] is None
    assert len(by_key["k1"]["id"]) == 36


async def test_withdrawn_calls_are_hidden(store: Store) -> None:
    await store.write(contents())
    async with store.database.connect(writing=True) as connection:
        await connection.execute(text("UPDATE calls SET state = 'withdrawn'"))
    for name in ("v_calls", "v_queue_hourly", "v_agent_hourly"):
        assert await view(store, name) == []


async def test_coverage_and_suspense(store: Store) -> None:
    await store.write(contents())
    assert [(row["state"], row["since"], row["until"]) for row in await view(store, "v_coverage")] == [
        ("blind", "2026-03-09T10:00:07.623456Z", None),
        ("connected", "2026-03-09T10:00:00.123456Z", "2026-03-09T10:00:07.623456Z"),
    ]
    (row,) = await view(store, "v_suspense")
    assert (row["reason"], row["body_bytes"], row["repaired"]) == ("unparsable", 7, 0)
