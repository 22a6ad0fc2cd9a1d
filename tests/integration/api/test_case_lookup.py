"""A case that nobody knows is asked for at the CRM: found, not found, and every way in which a CRM can fail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from aiohttp import web

from cdrhub.sources.dialling.http import MAX_ANSWER_BYTES
from cdrhub.store import Store
from support.api import ACME, ADMIN, NUMBERS, Client, Peer, configured, serving
from support.intake import until

CASE = {"source": "lagos", "numbers": [{"number": NUMBERS[0]}], "agent": "101"}


@dataclass
class Crm:
    """A CRM that answers what the test says."""

    status: int = 200
    body: bytes = orjson.dumps(CASE)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    silent: bool = False
    held: asyncio.Event | None = None  #: until which who asks now waits
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        self.authorization.append(request.headers.get("Authorization"))
        if self.silent:
            await asyncio.sleep(60)
        if self.held is not None:
            await self.held.wait()
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
    """A CRM on a loopback port."""
    there = Crm()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", there.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    there.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield there
    await runner.cleanup()


@asynccontextmanager
async def asking(store: Store, url: str, *, extra: str = "", allow_private: bool = True) -> AsyncGenerator[Client]:
    table = f"""
[redial.case_lookup]
url = "{url}"
headers = {{ Authorization = "Bearer of-the-crm" }}
allow_private = true
{extra}
"""
    config = configured(table)
    assert config.redial.case_lookup is not None
    # A file with such a URL and without the permission is refused, so that the permission is taken away here.
    lookup = config.redial.case_lookup.model_copy(update={"allow_private": allow_private})
    redial = config.redial.model_copy(update={"case_lookup": lookup})
    async with serving(Peer(config.model_copy(update={"redial": redial}), store)) as client:
        yield client


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """An empty store."""
    opened = Store.open(sqlite_url)
    await opened.prepare()
    yield opened
    await opened.close()


async def test_a_case_that_the_crm_knows_is_kept_and_dialled(store: Store, crm: Crm) -> None:
    async with asking(store, f"{crm.url}/cases/{{code}}?of={{tenant}}") as api:
        dialled = await api.dialled("C-1")
        assert (dialled.status, dialled.body["decision"]["number"]) == (200, "+2348039100001")
        assert (await api.ask("GET", "/cases/C-1")).body["agent"] == "101"
        await api.ask("POST", "/cases/C-1/stop")
        assert (await api.dialled("C-1")).status == 200
        announced = await api.ask("POST", "/cases/C-2/attempts?tenant=", {"number": NUMBERS[0], "agent": "102"})
        assert announced.status == 201
    assert crm.asked == ["/cases/C-1?of=", "/cases/C-2?of="]
    assert crm.authorization == ["Bearer of-the-crm"] * 2


@pytest.mark.parametrize("code", ["a/../../admin", "a?b=c&d#e", "100%", "ä b", "{tenant}", "a\\b", "@evil.example"])
async def test_a_code_is_one_part_of_the_url(store: Store, crm: Crm, code: str) -> None:
    async with asking(store, f"{crm.url}/cases/{{code}}?x=1") as api:
        assert (await api.dialled(code)).status == 200
    assert crm.asked == [f"/cases/{quote(code, safe='')}?x=1"]


async def test_only_orders_to_dial_ask(store: Store, crm: Crm) -> None:
    async with asking(store, f"{crm.url}/{{code}}") as api:
        for method, path in (("GET", "/cases/C-1"), ("POST", "/cases/C-1/stop"), ("DELETE", "/cases/C-1")):
            assert (await api.ask(method, path)).problem == "no-such-case"
    assert crm.asked == []


async def test_a_case_that_the_crm_does_not_know_is_not_there(store: Store, crm: Crm) -> None:
    crm.status = 404
    async with asking(store, f"{crm.url}/{{code}}") as api:
        assert (await api.dialled("C-1")).problem == "no-such-case"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (401, b""),
        (204, b""),
        (302, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, orjson.dumps({**CASE, "source": "nowhere"})),
        (200, orjson.dumps({**CASE, "source": "tel-aviv"})),
        (200, orjson.dumps({**CASE, "code": "C-2"})),
        (200, orjson.dumps({**CASE, "numbers": [{"number": "x" * 65}]})),
        (200, b" " * MAX_ANSWER_BYTES + orjson.dumps(CASE)),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_answer_that_is_no_case_changes_nothing(store: Store, crm: Crm, status: int, body: bytes) -> None:
    crm.status, crm.body = status, body
    crm.headers = {"Location": f"{crm.url}/elsewhere"}
    async with asking(store, f"{crm.url}/{{code}}") as api:
        refused = await api.ask("POST", "/cases/C-1/dial?tenant=", token=ADMIN)
        assert (refused.status, refused.problem) == (502, "lookup-failed")
        assert crm.url not in str(refused.body)
        assert (await api.ask("GET", "/cases")).body["cases"] == []
    assert crm.asked == ["/C-1"]


async def test_a_number_of_the_crm_that_is_none_is_named(store: Store, crm: Crm) -> None:
    crm.body = orjson.dumps({**CASE, "numbers": [{"number": "call me"}]})
    async with asking(store, f"{crm.url}/{{code}}") as api:
        refused = await api.dialled("C-1")
        assert (refused.status, refused.problem) == (502, "lookup-failed")


async def test_the_case_of_another_tenant_is_not_taken(store: Store, crm: Crm) -> None:
    async with asking(store, f"{crm.url}/{{code}}?t={{tenant}}") as api:
        assert (await api.dialled("C-1", token=ACME)).problem == "lookup-failed"
        crm.body = orjson.dumps({"source": "tel-aviv", "numbers": [{"number": "0521234567"}]})
        assert (await api.dialled("C-1", token=ACME)).body["case"]["tenant"] == "acme"
    assert crm.asked == ["/C-1?t=acme"] * 2


async def test_a_crm_that_hangs_is_not_waited_for(store: Store, crm: Crm) -> None:
    crm.silent = True
    async with asking(store, f"{crm.url}/{{code}}", extra="timeout_seconds = 0.2") as api:
        assert (await api.dialled("C-1")).problem == "lookup-failed"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
async def test_a_private_address_is_not_asked(store: Store, crm: Crm, host: str) -> None:
    async with asking(store, crm.url.replace("127.0.0.1", host) + "/{code}", allow_private=False) as api:
        assert (await api.dialled("C-1")).problem == "lookup-failed"
    assert crm.asked == []


def reload(api: Client, **changes: Any) -> None:
    """What a reload does that changes this much of the table."""
    redial = api.peer.config.redial
    assert redial.case_lookup is not None
    changed = redial.case_lookup.model_copy(update=changes)
    api.peer.config = api.peer.config.model_copy(update={"redial": redial.model_copy(update={"case_lookup": changed})})


async def test_a_permission_that_a_reload_takes_away_is_gone(store: Store, crm: Crm) -> None:
    async with asking(store, f"{crm.url}/{{code}}") as api:
        assert (await api.dialled("C-1")).status == 200
        reload(api, allow_private=False)
        assert (await api.dialled("C-2")).problem == "lookup-failed"
    assert len(crm.asked) == 1


async def test_a_reload_breaks_no_question_off(store: Store, crm: Crm) -> None:
    async with asking(store, f"{crm.url}/{{code}}") as api:
        held = crm.held = asyncio.Event()
        first = asyncio.create_task(api.dialled("C-1"))
        await until(lambda: crm.asked)
        crm.held = None
        reload(api, timeout_seconds=9.0)
        assert (
            await api.ask("POST", "/cases/C-2/attempts?tenant=", {"number": NUMBERS[0], "agent": "102"})
        ).status == 201
        held.set()
        assert (await first).status == 200


async def test_two_orders_at_once_keep_one_case(store: Store, crm: Crm) -> None:
    async with asking(store, f"{crm.url}/{{code}}") as api:
        answers = await asyncio.gather(*(api.dialled("C-1") for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
        assert len((await api.ask("GET", "/cases")).body["cases"]) == 1
