"""The CDR documents of a real FreeSWITCH, posted to the real daemon, alone and beside the events of the same calls.

Whatever comes first, and whichever of them is missing, the calls are those that the script which drove the phones
wrote down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from cdrhub.model.update import Ignored
from cdrhub.store import Store
from cdrhub.store.calls import CallFilter, legs_of, listed
from support.daemon import Daemon
from support.esl import PASSWORD, EventSocketServer, event
from support.freeswitch import CAPTURES, bodies_of, decoded
from support.freeswitch_expected import EXPECTED, LIVES_ON, check_click_to_call, check_queue_call
from support.intake import until

SECRET = "0123456789abcdef-secret"
MISSED = ("01-answered-caller-hangs-up", "08-blind-transfer", "13-customer-first-answered")


def with_documents(kind: str) -> list[str]:
    """The scenarios of which there are such documents."""
    return [scenario for scenario in EXPECTED if (CAPTURES / f"{scenario}.{kind}").exists()]


def bodies(kind: str, scenarios: Sequence[str]) -> list[bytes]:
    return [body for scenario in scenarios for body in bodies_of(f"{scenario}.{kind}")]


def says_something(body: bytes) -> bool:
    """Whether the source hands an event over: others are counted and left out."""
    said = decoded(body)
    return not isinstance(said, Ignored) or said.why not in {"heartbeat", "background_job", "members_count"}


def listening(name: str, port: int) -> str:
    return f"""
[sources.{name}]
type = "freeswitch"
port = {port}
password = "{PASSWORD}"
"""


def posting(name: str, *, into: str | None = None) -> str:
    target = f'into = "{into}"' if into else ""
    return f'[sources.{name}]\ntype = "freeswitch-cdr"\npath = "/ingest/{name}/{SECRET}"\n{target}\n'


async def post(daemon: Daemon, name: str, documents: Sequence[bytes]) -> None:
    """Post each document; all are answered 200."""
    url = f"http://127.0.0.1:{daemon.http_port}/ingest/{name}/{SECRET}"
    async with aiohttp.ClientSession() as session:
        for document in documents:
            async with session.post(url, params={"uuid": "a_1"}, data=document) as answer:
                assert answer.status == 200


async def check(database: str, source: str, scenarios: Sequence[str], *, ended: bool = True) -> None:
    """Every call of these scenarios is there, as it was, and no other one."""
    store = Store.open(database)
    try:
        page = await listed(store, CallFilter(source=source), limit=1_000)
        calls = {}
        for row in page.rows:
            legs = [SimpleNamespace(**leg) for leg in await legs_of(store, row["id"])]
            calls[row["call_key"]] = SimpleNamespace(**{**row, "legs": legs})
    finally:
        await store.close()
    expected: set[str] = set()
    for scenario in scenarios:
        for call in EXPECTED[scenario].get("calls", ()):
            key = call["member_session_uuid"]
            expected.add(key)
            check_queue_call(calls[key], call, ended=ended or scenario not in LIVES_ON)
        for job in EXPECTED[scenario].get("jobs", ()):
            expected.add(job["origination_uuid"])
            check_click_to_call(calls[job["origination_uuid"]], job)
    assert set(calls) == expected


async def test_documents_alone(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'hub.db'}"
    json, xml = with_documents("json_cdr.json"), with_documents("xml_cdr.xml")
    daemon = Daemon(tmp_path, database=database, sources=posting("json") + posting("xml"))
    try:
        await asyncio.to_thread(daemon.start)
        await post(daemon, "json", bodies("json_cdr.json", json))
        await post(daemon, "json", bodies("json_cdr.json", json)[::-1])  # the switch was not told that they were kept
        await post(daemon, "xml", bodies("xml_cdr.xml", xml)[::-1])
        assert await asyncio.to_thread(daemon.stop) == 0
    finally:
        daemon.kill()
    await check(database, "json", json)
    await check(database, "xml", xml)


@pytest.mark.parametrize("order", ["documents first", "events first", "in turn"])
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_documents_and_events_make_the_same_calls(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str, order: str
) -> None:
    """Some calls were missed by the events altogether."""
    database = request.getfixturevalue(f"{engine}_url")
    scenarios = with_documents("json_cdr.json")
    documents = bodies("json_cdr.json", scenarios)
    events = bodies("plain.esl", [scenario for scenario in scenarios if scenario not in MISSED])
    async with EventSocketServer() as switch:
        sources = listening("callcentre", switch.port) + posting("documents", into="callcentre")
        daemon = Daemon(tmp_path, database=database, sources=sources)
        try:
            await asyncio.to_thread(daemon.start)
            await until(lambda: switch.subscribers, "the hub listens")
            third = len(events) // 3
            if order == "documents first":
                await post(daemon, "documents", documents)
                await asyncio.to_thread(daemon.drained)
            await switch.send(*map(event, events[:third]))
            if order == "in turn":
                await post(daemon, "documents", documents[::-1])
            await switch.send(*map(event, events[third:]))
            handed_over = sum(map(says_something, events))
            await asyncio.to_thread(
                daemon.wait_for, "cdrhub_records_acknowledged_total", handed_over, source="callcentre"
            )
            if order == "events first":
                await asyncio.to_thread(daemon.drained)
                await check(database, "callcentre", [one for one in scenarios if one not in MISSED], ended=False)
                await post(daemon, "documents", documents)
            assert await asyncio.to_thread(daemon.stop) == 0
        finally:
            daemon.kill()
    await check(database, "callcentre", scenarios)
