"""States of agents on every engine: one row for each message, whoever brings it and however often."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentState, AgentWord
from cdrhub.model.record import RawRecord
from cdrhub.model.update import Ignored
from cdrhub.store import Store
from cdrhub.store.agent_replay import replay_states
from cdrhub.store.agents import AgentStateFilter, each_state
from cdrhub.store.batch import Item, Outcome
from cdrhub.store.replay import Difference
from cdrhub.store.replay import replay as replay_calls
from cdrhub.store.retention import Retained
from cdrhub.store.suspense import listed
from cdrhub.store.suspense import replay as replay_suspense
from cdrhub.store.tables import agent_states, calls, outbox, records, unopened
from support.ledger import (
    at,
    batches,
    call_of,
    count,
    ended,
    item,
    message,
    of_agent,
    reread,
    rows,
    settled_rows,
    story,
)


def shift(agent: str, begin: float = 0.0) -> list[bytes]:
    """An agent comes, waits, takes a call, works after it and goes."""
    return [
        of_agent(agent, "available", kind="status", seconds=begin, queue="sales"),
        of_agent(agent, "waiting", seconds=begin + 1),
        of_agent(agent, "receiving", seconds=begin + 10),
        of_agent(agent, "in_call", seconds=begin + 12),
        of_agent(agent, "wrap_up", seconds=begin + 70),
        of_agent(agent, "waiting", seconds=begin + 80),
        of_agent(agent, "on_break", kind="status", seconds=begin + 90, reason="lunch"),
        of_agent(agent, "work_inbound", kind="mode", seconds=begin + 91),
        of_agent(agent, "logged_out", kind="status", seconds=begin + 100, queue="sales"),
    ]


async def told(store: Store, *, limit: int | None = None, **chosen: Any) -> list[dict[str, Any]]:
    """What reading gives."""
    return [dict(row) async for row in each_state(store, AgentStateFilter(**chosen), limit=limit)]


async def differences(found: AsyncIterator[Difference]) -> list[Difference]:
    return [one async for one in found]


def stating(got: RawRecord, outcome: Outcome) -> Item:
    """The item of a record that a corrected decoder reads so."""
    return replace(reread(got), outcome=outcome)


def tired(got: RawRecord) -> Item:
    """A corrected decoder: who waits, idles."""
    one = reread(got)
    if isinstance(one.outcome, AgentState) and one.outcome.state == AgentWord.WAITING:
        return replace(one, outcome=replace(one.outcome, state=AgentWord.IDLE), decoder_revision=2)
    return one


async def test_a_state_and_its_record(store: Store) -> None:
    body = of_agent(
        "7001", "on_break", kind="status", seconds=5.25, reason="lunch", queue="sales", sequence=2**53, flags=["late"]
    )
    written = await store.write([replace(item(body, received=7.0), tenant="acme")])
    assert (written.records, written.new, written.ignored, written.calls_created) == (1, 1, 0, 0)
    (row,) = await rows(store, agent_states)
    (record,) = await rows(store, records)
    del row["id"]
    assert row == {
        "source": "lagos",
        "tenant": "acme",
        "agent_id": "7001",
        "at": at(5.25),
        "kind": "status",
        "state": "on_break",
        "state_raw": "ON_BREAK",
        "reason": "lunch",
        "queue": "sales",
        "sequence": 2**53,
        "flags": ["late"],
        "received_at": at(7.0),
        "digest": record["digest"],
    }
    assert (record["state"], record["call_id"], record["body"]) == ("applied", None, body)
    assert await count(store, calls) == await count(store, outbox) == await count(store, unopened) == 0


async def test_without_a_time_of_its_own_it_is_of_its_receipt(store: Store) -> None:
    await store.write([item(of_agent("7001", "waiting"), received=30.0)])
    (row,) = await rows(store, agent_states)
    assert (row["at"], row["received_at"]) == (at(30.0), at(30.0))


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_any_order_any_repetition_any_batches(store: Store, size: int) -> None:
    once = [item(body) for number in range(5) for body in shift(str(7001 + number), number)]
    once += [item(body) for number in range(3) for body in story(f"k{number}", number)]
    several = [*once, *once[::2], *once[::3]]
    random.Random(size).shuffle(several)
    for batch in batches(several, size):
        await store.write(batch)
    states = (await settled_rows(store))["agent_states"]
    assert len(states) == await count(store, agent_states) == 45
    assert {call["record_count"] for call in (await settled_rows(store))["calls"].values()} == {5}


async def test_two_hubs_write_one_row(store: Store, second: Store) -> None:
    bodies = [body for number in range(20) for body in shift(str(7001 + number), number)]

    async def feed(hub: Store, seed: int) -> None:
        mine = [item(body) for body in bodies]
        random.Random(seed).shuffle(mine)
        for batch in batches(mine, 17):
            await hub.write(batch)

    await asyncio.gather(feed(store, 1), feed(second, 2))
    assert await count(store, agent_states) == await count(store, records) == len(bodies)


async def test_the_same_message_of_a_source_that_is_joined_into_another(store: Store) -> None:
    bodies = shift("7001")
    await store.write([item(body) for body in bodies[:6]])
    await store.write([replace(item(body, source="lagos-files"), owner="lagos") for body in bodies])
    assert await count(store, records) == 15
    states = await rows(store, agent_states)
    assert len(states) == 9
    assert {row["source"] for row in states} == {"lagos"}


@pytest.mark.parametrize("at_once", [True, False])
async def test_one_event_in_two_encodings_is_one_row(store: Store, *, at_once: bool) -> None:
    """Also where a file brings the other one, which knows no id of the event before it is decoded."""
    live = item(of_agent("7001", "waiting", seconds=1, event_id="core/1"))
    filed = item(of_agent("7001", "waiting", seconds=1, event_id="core/1", encoding="json"))
    filed = replace(filed, record=replace(filed.record, event_id=None))
    batches = [[live, filed]] if at_once else [[live], [filed]]
    for batch in [*batches, *batches]:
        await store.write(batch)
    await store.write([item(of_agent("7001", "waiting", seconds=1, event_id="core/2"))])
    assert await count(store, agent_states) == 2
    assert sorted(row["event_id"] for row in await rows(store, records)) == ["core/1", "core/1", "core/2"]

    assert {one.what for one in await differences(replay_states(store, reread=tired))} == {"changed"}
    assert {row["state"] for row in await rows(store, agent_states)} == {"idle"}
    withdrawn = replay_states(store, reread=lambda got: stating(got, Ignored(why="agent_setting")))
    assert {one.what for one in await differences(withdrawn)} == {"withdrawn"}
    assert await count(store, agent_states) == 0


async def test_the_same_message_of_two_sources_is_two(store: Store) -> None:
    await store.write(
        [item(of_agent("7001", "waiting", seconds=1)), item(of_agent("7001", "waiting", seconds=1), source="abuja")]
    )
    assert {row["source"] for row in await rows(store, agent_states)} == {"lagos", "abuja"}


async def test_a_refused_value_costs_its_own_record(store: Store) -> None:
    bad = item(of_agent("7002", "waiting", seconds=1))
    assert isinstance(bad.outcome, AgentState)
    bad = replace(bad, outcome=replace(bad.outcome, sequence=2**70))
    written = await store.write([item(of_agent("7001", "waiting", seconds=1)), bad, item(ended("k"))])
    assert (written.new, written.suspended, written.calls_created) == (3, 1, 1)
    assert [row["agent_id"] for row in await rows(store, agent_states)] == ["7001"]


async def test_reading_newest_first_by_everything(store: Store) -> None:
    await store.write([item(body) for body in (*shift("7001"), *shift("7002", 50))])
    await store.write([item(body, source="abuja") for body in shift("7001", 1000)])
    everything = await told(store)
    assert len(everything) == 27
    assert [row["at"] for row in everything] == sorted((row["at"] for row in everything), reverse=True)
    assert [row["id"] for row in await told(store, limit=4)] == [row["id"] for row in everything[:4]]
    assert {row["agent_id"] for row in await told(store, agent="7002")} == {"7002"}
    assert len(await told(store, source="lagos", agent="7001", kind="status")) == 3
    assert [row["state"] for row in await told(store, source="lagos", since=at(150))] == ["logged_out"]
    assert [row["state"] for row in await told(store, until=at(1))] == ["available"]
    assert await told(store, tenant="acme") == []


async def test_states_that_share_a_moment_are_read_in_the_vendor_s_order(store: Store) -> None:
    bodies = [
        of_agent("7001", word, kind="status", seconds=1, sequence=number)
        for number, word in enumerate(["available", "on_break"] * 10, start=1)
    ]
    random.Random(1).shuffle(bodies)
    await store.write([item(body) for body in bodies])
    assert [row["sequence"] for row in await told(store)] == [*range(20, 0, -1)]


async def test_pages_that_share_a_moment(store: Store) -> None:
    await store.write([item(of_agent(f"a{n}", "waiting", seconds=1)) for n in range(1_203)])
    assert len({row["agent_id"] for row in await told(store)}) == 1_203
    assert len(await told(store, limit=700)) == 700


async def test_a_corrected_decoder_gives_the_new_states(store: Store) -> None:
    await store.write([item(body) for body in (*shift("7001"), *story("k"))])
    before = await rows(store, agent_states)
    dry = await differences(replay_states(store, reread=tired, dry_run=True))
    assert await rows(store, agent_states) == before
    wet = await differences(replay_states(store, reread=tired))
    assert wet == dry
    assert [(one.what, one.source) for one in wet] == [("changed", "lagos")] * 2
    assert [list(one.fields.values()) for one in wet] == [[("waiting", "idle")]] * 2
    after = await rows(store, agent_states)
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert sorted(row["state"] for row in after).count("idle") == 2
    assert await differences(replay_states(store, reread=tired)) == []
    ids = {row["digest"] for row in after if row["state"] == "idle"}
    assert {row["decoder_revision"] for row in await rows(store, records) if row["digest"] in ids} == {2}


async def test_the_same_decoder_finds_nothing(store: Store) -> None:
    await store.write([item(body) for body in (*shift("7001"), message("u", opens=False), *story("k"))])
    before = await rows(store, agent_states), await rows(store, records), await rows(store, unopened)
    assert await differences(replay_states(store, reread=reread)) == []
    assert before == (await rows(store, agent_states), await rows(store, records), await rows(store, unopened))


async def test_a_state_that_the_database_refuses_stays_and_the_others_are_read_anew(store: Store) -> None:
    def unspeakable(got: RawRecord) -> Item:
        one = tired(got)
        assert isinstance(one.outcome, AgentState)
        return replace(one, outcome=replace(one.outcome, sequence=2**70)) if one.outcome.agent_id == "2" else one

    await store.write([item(of_agent(agent, "waiting")) for agent in "123"])
    before = {row["agent_id"]: row for row in await rows(store, agent_states)}
    found = await differences(replay_states(store, reread=unspeakable))
    (failed,) = [one for one in found if one.what == "failed"]
    assert (failed.source, len(failed.fields), len(found)) == (before["2"]["source"], 1, 3)
    after = {row["agent_id"]: row for row in await rows(store, agent_states)}
    assert (after["2"], after["1"]["state"], after["3"]["state"]) == (before["2"], "idle", "idle")


async def test_only_the_chosen_records_are_read_anew(store: Store) -> None:
    await store.write([item(of_agent("1", "waiting", seconds=1), received=10.0)])
    await store.write([item(of_agent("2", "waiting", seconds=1), received=20.0)])
    await store.write([item(of_agent("3", "waiting", seconds=1), received=20.0, source="abuja")])
    assert len(await differences(replay_states(store, reread=tired, dry_run=True, until=at(20)))) == 1
    assert len(await differences(replay_states(store, reread=tired, dry_run=True, since=at(20)))) == 2
    (one,) = await differences(replay_states(store, reread=tired, dry_run=True, since=at(20), source="abuja"))
    assert one.source == "abuja"


@pytest.mark.parametrize(
    ("outcome", "what", "state"),
    [
        (DecodeError(Reason.BAD_VALUE, "no"), "suspended", "suspended"),
        (Ignored(why="agent_setting"), "withdrawn", "ignored"),
    ],
)
async def test_records_that_say_nothing_any_more(store: Store, outcome: Outcome, what: str, state: str) -> None:
    await store.write([item(of_agent("7001", "waiting", seconds=1)), item(ended("k"))])

    def blind(got: RawRecord) -> Item:
        return stating(got, outcome)

    (dry,) = await differences(replay_states(store, reread=blind, dry_run=True))
    assert await count(store, agent_states) == 1
    assert await differences(replay_states(store, reread=blind)) == [dry]
    assert dry.what == what
    assert await count(store, agent_states) == 0
    assert sorted(row["state"] for row in await rows(store, records)) == sorted(["applied", state])


async def test_what_is_a_record_of_a_call_now_takes_its_way_through_suspense(store: Store) -> None:
    await store.write([item(of_agent("7001", "waiting", seconds=1)), item(ended("k"))])

    def corrected(got: RawRecord) -> Item:
        return replace(item(ended("new", 5)), record=got) if b'agent"' in got.body else reread(got)

    (one,) = await differences(replay_states(store, reread=corrected))
    assert one.what == "suspended"
    (waiting,) = await listed(store)
    assert (await replay_suspense(store, [waiting.id], reread=corrected, actor="ada")).applied == 1
    assert (await call_of(store, "new"))["record_count"] == 1
    assert await count(store, agent_states) == 0


async def test_a_call_s_record_that_is_an_agent_s_now_takes_its_way_through_suspense(store: Store) -> None:
    await store.write([item(ended("k"))])

    def corrected(got: RawRecord) -> Item:
        return stating(got, item(of_agent("7001", "waiting", seconds=1)).outcome)

    assert {one.what for one in await differences(replay_calls(store, reread=corrected))} == {"withdrawn", "suspended"}
    (waiting,) = await listed(store)
    done = await replay_suspense(store, [waiting.id], reread=corrected, actor="ada")
    assert (done.applied, done.remaining) == (1, [])
    (row,) = await rows(store, agent_states)
    assert (row["agent_id"], row["digest"]) == ("7001", waiting.digest)


async def test_emptied_records_keep_their_states(store: Store) -> None:
    await store.write([item(body, received=0.0) for body in shift("7001")])

    class Limits:
        raw_days, facts_days = 5, 0

    now = at(0) + timedelta(days=10)
    assert await store.apply_retention(Limits(), now=now) == Retained(bodies=9, facts=0)
    assert await differences(replay_states(store, reread=tired)) == []
    await store.write([item(body, received=10 * 86_400.0) for body in shift("7001")])
    assert await count(store, agent_states) == 9


async def test_the_documented_time_in_a_state_loses_no_parts_of_seconds(store: Store, store_url: str) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "database.md").read_text(encoding="utf-8")
    query = next(found for found in re.findall(r"```sql\n(.*?);\n```", page, re.DOTALL) if "FROM agent_states" in found)
    own = re.search(r"(ROUND\(.*\)) AS seconds", query)
    others = re.search(r"^- MariaDB: `(ROUND.*)`\n- PostgreSQL: `(ROUND.*)`$", page, re.MULTILINE)
    assert own
    assert others
    engine = store_url.partition(":")[0]
    spelled = query.replace(own[1], {"mariadb": others[1], "postgresql": others[2]}.get(engine, own[1]))
    words = ("receiving", "waiting")
    await store.write([item(of_agent("a", words[n % 2], seconds=n * 1.9)) for n in range(21)])
    since, until = at(0), at(86_400)
    spelled = spelled.replace("'callcentre'", "'lagos'").replace("2026-03-01", f"{since:%Y-%m-%d}")
    spelled = spelled.replace("2026-03-02", f"{until:%Y-%m-%d}")
    async with store.database.connect() as connection:
        found = [(row.state, int(row.seconds)) for row in await connection.execute(text(spelled))]
    assert found == [("receiving", 19), ("waiting", 19)]
