"""A case worked through by the real daemon with nothing but HTTP.

It is ordered over the API, dialled by a webhook dialler, its calls are pushed back by the phone system, and everything
is seen over the API again.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from support.daemon import Daemon

PATH = "/ingest/voicenter/0123456789abcdef-secret"
TOKEN = "0123456789abcdef-operate"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
NUMBERS = ("08039100001", "08039100002", "08039100003")
SECONDS = 30.0

TABLES = f"""
[[http.tokens]]
name = "crm"
token = "{TOKEN}"
role = "operate"

[redial]
mode = "on"
[redial.diallers.crm]
type = "webhook"
url = "http://127.0.0.1:{{port}}/dial"
secret = "{SECRET}"
allow_private = true
[redial.case_lookup]
url = "http://127.0.0.1:{{port}}/cases/{{{{code}}}}"
allow_private = true

[sources.vendor]
type = "voicenter"
path = "{PATH}"
region = "NG"
dialler = "crm"
"""


@dataclass
class Crm:
    """A CRM that knows one case and dials what it is asked to."""

    orders: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def dial(self, request: web.Request) -> web.Response:
        order = (await request.json())["data"]
        await self.orders.put(order)
        return web.json_response({"vendor_ref": f"job-{order['attempt_id']}"})

    async def case(self, request: web.Request) -> web.Response:
        if request.match_info["code"] != "C-17":
            raise web.HTTPNotFound
        numbers = [{"number": number} for number in NUMBERS]
        return web.json_response({"source": "vendor", "numbers": numbers, "agent": "101", "metadata": {"deal": 42}})


@asynccontextmanager
async def crm() -> AsyncGenerator[tuple[Crm, int]]:
    there = Crm()
    app = web.Application()
    app.router.add_post("/dial", there.dial)
    app.router.add_get("/cases/{code}", there.case)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, listening).start()
        yield there, listening.getsockname()[1]
    finally:
        await runner.cleanup()


def record_of(order: dict[str, Any], status: str) -> dict[str, Any]:
    """The vendor's record of the call that an order led to; it ended a moment ago."""
    answered = status == "ANSWER"
    return {
        "ivruniqueid": f"call-{order['attempt_id']}",
        "type": "Click2Call leg2",
        "status": status,
        "caller": "0722776772",
        "target": order["number"],
        "time": int(time.time()) - 3,
        "duration": 2 if answered else 0,
        "dialtime": 1,
        "CustomData": {"var_cdrhub_attempt": order["attempt_id"]},
    }


async def test_a_case_goes_from_number_to_number_until_a_person_answers(tmp_path: Path) -> None:
    async with crm() as (dialler, port), aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        daemon = Daemon(
            tmp_path / "hub", database=f"sqlite:///{tmp_path / 'cdrhub.db'}", sources=TABLES.format(port=port)
        )
        await asyncio.to_thread(daemon.start)
        try:
            await _worked_through(session, f"http://127.0.0.1:{daemon.http_port}", dialler)
        finally:
            assert await asyncio.to_thread(daemon.stop) == 0


async def _worked_through(session: aiohttp.ClientSession, hub: str, dialler: Crm) -> None:
    async def ask(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        async with session.request(method, f"{hub}/api/v1{path}", json=body) as answer:
            said = await answer.json(content_type=None)
            assert answer.status == status, said
            return said

    async def ordered() -> dict[str, Any]:
        return await asyncio.wait_for(dialler.orders.get(), SECONDS)

    async def rings(order: dict[str, Any], status: str) -> None:
        async with session.post(f"{hub}{PATH}", json=record_of(order, status)) as answer:
            assert (await answer.json())["err"] == 0

    async def becomes(state: str) -> Any:
        deadline = time.monotonic() + SECONDS
        while (case := await ask("GET", "/cases/C-17"))["state"] != state:
            assert time.monotonic() < deadline, case
            await asyncio.sleep(0.05)
        return case

    await ask("POST", "/cases/C-18/dial", status=404)
    dialled = await ask("POST", "/cases/C-17/dial", {"reference": "media-7"})
    assert (dialled["decision"]["result"], dialled["case"]["metadata"]) == ("next", {"deal": 42})
    first = await ordered()
    assert (first["case_code"], first["number"], first["agent"]) == ("C-17", "+2348039100001", "101")
    await ask("POST", "/cases/C-17/dial", status=409)
    await rings(first, "NOANSWER")
    second = await ordered()
    assert (second["number"], second["reference"]) == ("+2348039100002", "media-7")
    await rings(second, "ANSWER")
    case = await becomes("contacted")
    assert [(one["id"], one["state"], one["outcome"]) for one in case["attempts"]] == [
        (first["attempt_id"], "ended", "no_answer"),
        (second["attempt_id"], "ended", "answered"),
    ]
    told = await ask("GET", "/cases/C-17/decisions")
    assert [(one["cause"], one["result"], one["rule"]) for one in told["decisions"]] == [
        ("order", "next", "first_untried"),
        ("call", "next", "first_untried"),
        ("call", "contacted", "reached"),
    ]
    calls = (await ask("GET", "/calls?number=08039100002"))["calls"]
    assert [(call["case_id"], call["attempt_id"], call["disposition"]) for call in calls] == [
        (case["id"], second["attempt_id"], "answered")
    ]
    attempt = await ask("GET", f"/attempts/{second['attempt_id']}")
    assert (attempt["call_id"], attempt["case_code"]) == (calls[0]["id"], "C-17")
    assert dialler.orders.empty()
