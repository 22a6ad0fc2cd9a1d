"""From the wire to whoever is told: lines of a 3CX, the webhooks of the documentation's receivers, the live feed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.commands import cdrhub
from support.daemon import Daemon
from support.receivers import SECRET, Reader, Receiver, node_receiver, python_receiver
from support.servers import free_port

TOKEN = "operator-0123456789abcdef"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
SECONDS = 60.0

CONFIGURATION = f"""
[[http.tokens]]
name = "crm"
token = "{TOKEN}"
role = "operate"

[redial]
mode = "on"

[redial.diallers.crm]
type = "webhook"
url = "http://127.0.0.1:{{dialler}}/dial"
secret = "{SECRET}"
allow_private = true

[sources.lagos]
type = "3cx"
listen = "127.0.0.1:{{port}}"
region = "NG"
timezone = "UTC"
settle_seconds = 0.5
dialler = "crm"
"""


class Dialler:
    """Takes orders to dial, and remembers them."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    async def dial(self, request: web.Request) -> web.Response:
        self.orders.append((await request.json())["data"])
        return web.json_response({"vendor_ref": f"job-{len(self.orders)}"})


@asynccontextmanager
async def dialling(dialler: Dialler) -> AsyncGenerator[int]:
    app = web.Application()
    app.router.add_post("/dial", dialler.dial)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def line(number: int, *, agent: str = "114", dialled: str = "08039100000", answered: bool = True) -> bytes:
    """A 3CX line of a call that has just ended, to `dialled`."""
    end = datetime.now(UTC)
    start, answer = end - timedelta(seconds=2), end - timedelta(seconds=1)
    times = [f"{moment:%Y/%m/%d %H:%M:%S}" for moment in (start, answer, end)]
    if not answered:
        times[1] = ""
    ended = "TerminatedByDst" if answered else "Failed_Cancelled"
    return (
        f"Call {number},00000172FF10D141_{number},{'00:00:01' if answered else ''},{','.join(times)},{ended},"
        f"Ext.{agent},{dialled},{agent},10001,{dialled},,,,,,,,Chain: Ext.{agent};{dialled};\r\n"
    ).encode()


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[asyncio.StreamWriter]:
    """The switch's connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield writer
    finally:
        writer.close()
        await writer.wait_closed()


async def send(port: int, lines: Sequence[bytes]) -> None:
    async with connected(port) as switch:
        switch.write(b"".join(lines))
        await switch.drain()


async def until(true: Callable[[], bool], *, daemon: Daemon) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, daemon.log.read_text()[-4000:]
        await asyncio.sleep(0.05)


@pytest.fixture(params=[python_receiver, node_receiver], ids=["python", "node"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Receiver:
    made: Receiver = request.param(tmp_path)
    return made


@asynccontextmanager
async def at_work(daemon: Daemon, receiver: Receiver) -> AsyncGenerator[Reader]:
    """The daemon, the receiver, and a reader of the live feed."""
    await asyncio.to_thread(receiver.start)
    await asyncio.to_thread(daemon.start)
    reader = Reader(url=f"http://127.0.0.1:{daemon.http_port}/api/v1/events", headers=AUTHORIZED)
    reading = asyncio.create_task(reader.read())
    try:
        yield reader
        assert not reading.done()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        daemon.kill()
        receiver.kill()


def ends(events: Sequence[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """How often each call's end was told, as which type."""
    return Counter(
        (event["data"]["call_key"], event["type"]) for event in events if event["type"] in ("call.ended", "call.hangup")
    )


def types(reader: Reader) -> set[str]:
    return {event["type"] for _, event in reader.events}


async def test_each_call_ends_once_for_everybody_whatever_is_restarted(tmp_path: Path, receiver: Receiver) -> None:
    port = free_port()
    daemon = Daemon(
        tmp_path / "daemon",
        database=f"sqlite:///{tmp_path / 'hub.db'}",
        sources=CONFIGURATION.format(port=port, dialler=free_port()) + receiver.webhook("crm"),
    )
    lines = [line(number) for number in range(60)]
    async with at_work(daemon, receiver) as reader:
        await send(port, lines[:30])
        await until(lambda: len(ends(receiver.read())) >= 10, daemon=daemon)
        daemon.kill()
        receiver.kill()
        await asyncio.to_thread(daemon.start)
        await send(port, lines[20:])  # the switch sends some again
        await until(lambda: len(ends([event for _, event in reader.events])) == 60, daemon=daemon)
        await asyncio.to_thread(receiver.start)
        assert await asyncio.to_thread(daemon.stop) == 0
        await asyncio.to_thread(daemon.start)
        # On a slow machine the second attempt met no receiver either, and the third comes after five minutes.
        await asyncio.to_thread(ask, daemon, "retry", "crm")
        await until(lambda: len(ends(receiver.read())) == 60, daemon=daemon)
        await send(port, lines[:5])
        await send(port, [line(60)])
        await until(lambda: len(ends(receiver.read())) == 61, daemon=daemon)
        await until(lambda: len(ends([event for _, event in reader.events])) == 61, daemon=daemon)
        assert await asyncio.to_thread(daemon.stop) == 0
    received, read = receiver.read(), [event for _, event in reader.events]
    assert set(ends(received).values()) == set(ends(read).values()) == {1}
    positions = [position for position, _ in reader.events]
    assert positions == list(range(1, len(positions) + 1))
    assert {event for event, _ in reader.told} <= {"cut"}
    assert [event["id"] for event in received] == list(dict.fromkeys(event["id"] for event in received))
    by_id = {event["id"]: event for event in read}
    assert all(by_id[event["id"]] == event for event in received if event["id"] in by_id)


async def test_a_case_goes_on_and_ends_and_everybody_hears_of_it(tmp_path: Path, receiver: Receiver) -> None:
    port, dialler = free_port(), Dialler()
    async with dialling(dialler) as dialler_port:
        daemon = Daemon(
            tmp_path / "daemon",
            database=f"sqlite:///{tmp_path / 'hub.db'}",
            sources=CONFIGURATION.format(port=port, dialler=dialler_port)
            + receiver.webhook("crm", types=["call.*", "case.*", "redial.*"]),
        )
        async with (
            at_work(daemon, receiver) as reader,
            aiohttp.ClientSession(headers=AUTHORIZED) as crm,
            connected(port) as switch,
        ):
            await until(lambda: "source.recovered" in types(reader), daemon=daemon)
            api = f"http://127.0.0.1:{daemon.http_port}/api/v1"
            given = {
                "code": "C-1",
                "source": "lagos",
                "agent": "114",
                "numbers": [{"number": "08039100001"}, {"number": "08039100002"}],
            }
            async with crm.post(f"{api}/cases", json=given) as answer:
                assert answer.status == 201, await answer.text()
            async with crm.post(f"{api}/cases/C-1/dial", json={"reference": "media-9"}) as answer:
                assert answer.status == 200, await answer.text()
            for number, dialled in enumerate(("08039100001", "08039100002"), start=1):
                await until(lambda number=number: len(dialler.orders) == number, daemon=daemon)  # type: ignore[misc]
                await asyncio.sleep(1.1)  # the line tells seconds, and begins with the call
                switch.write(line(number, dialled=dialled, answered=False))
            await until(lambda: any(event["type"] == "case.exhausted" for event in receiver.read()), daemon=daemon)
            await until(lambda: "case.exhausted" in types(reader), daemon=daemon)
            assert await asyncio.to_thread(daemon.stop) == 0
    told = [event for event in receiver.read() if event["data"].get("case_code") == "C-1"]
    assert [event["type"] for event in told] == [
        "redial.requested",
        "call.hangup",
        "redial.requested",
        "call.ended",
        "case.exhausted",
    ]
    assert set(ends(receiver.read()).values()) == {1}
    for event in told:
        known = event["data"]
        assert known["reference"] == "media-9"
        assert known["attempt_id"]
        assert known["agent"] == "114"
        assert known.keys() >= {"destination", "started_at", "answered_at", "ended_at", "disposition"}
    assert [event["id"] for event in told] == [
        event["id"] for _, event in reader.events if event["data"].get("case_code") == "C-1"
    ]


def beside(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the program beside the daemon."""
    done = cdrhub(*arguments, "--config", daemon.config, folder=daemon.directory)
    assert done.returncode == 0, done.stderr
    return done


def ask(daemon: Daemon, *arguments: str) -> str:
    """What `cdrhub deliveries` says."""
    return beside(daemon, "deliveries", *arguments).stdout


async def test_what_was_refused_is_sent_again_and_so_is_a_range(tmp_path: Path) -> None:
    port, receiver = free_port(), python_receiver(tmp_path)
    receiver.secrets = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="  # it believes nobody
    daemon = Daemon(
        tmp_path / "daemon",
        database=f"sqlite:///{tmp_path / 'hub.db'}",
        sources=CONFIGURATION.format(port=port, dialler=free_port())
        + receiver.webhook("crm", types=["call.ended", "call.hangup"]),
    )

    async def told(*arguments: str) -> str:
        return await asyncio.to_thread(ask, daemon, *arguments)

    async with at_work(daemon, receiver) as reader:
        await send(port, [line(number) for number in range(3)])
        await until(lambda: len(ends([event for _, event in reader.events])) == 3, daemon=daemon)
        positions = [position for position, event in reader.events if event["type"] == "call.ended"]
        deadline = time.monotonic() + SECONDS
        while len(refused := json.loads(await told("list", "crm", "--format", "json"))) < 3:
            assert time.monotonic() < deadline
        assert [(one["position"], one["state"], one["last_status"]) for one in refused] == [
            (position, "refused", 401) for position in positions
        ]
        receiver.kill()
        receiver.secrets = f"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= {SECRET}"
        await asyncio.to_thread(receiver.start)
        assert "1 refused event will be sent again" in await told("retry", "crm", str(positions[0]))
        await until(lambda: len(receiver.read()) == 1, daemon=daemon)
        assert "2 refused events will be sent again" in await told("retry", "crm", "--refused")
        await until(lambda: len(receiver.read()) == 3, daemon=daemon)
        shown = json.loads(await told("show", "crm", str(positions[1]), "--format", "json"))
        assert shown["state"] == "delivered"
        assert shown["event"] in receiver.read()
        since = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
        assert "3 events of positions" in await told("again", "crm", "--since", since)
        while {one["state"] for one in json.loads(await told("list", "crm", "--format", "json"))} != {"delivered"}:
            assert time.monotonic() < deadline
        assert len(receiver.read()) == 3  # it knew them by their ids
        (webhook,) = json.loads(await told("list", "--format", "json"))
        assert (webhook["state"], webhook["refused"]) == ("healthy", 0)
        assert await asyncio.to_thread(daemon.stop) == 0


async def test_a_replay_is_told_where_it_is_asked_for_and_dials_nobody(tmp_path: Path) -> None:
    """A 3CX whose zone is wrong by an hour, while a case waits for the call that it has just told."""
    port, dialler, receiver = free_port(), Dialler(), python_receiver(tmp_path)
    async with dialling(dialler) as dialler_port:
        daemon = Daemon(
            tmp_path / "daemon",
            database=f"sqlite:///{tmp_path / 'hub.db'}",
            sources=CONFIGURATION.format(port=port, dialler=dialler_port).replace('"UTC"', '"Africa/Lagos"')
            + receiver.webhook("crm", types=["call.*", "case.*", "redial.*"]),
        )

        def configured(before: str, after: str) -> None:
            text = daemon.config.read_text()
            assert before in text
            daemon.config.write_text(text.replace(before, after))

        async def replay(*arguments: str) -> str:
            current = ("replay", "--source", "lagos", "--with-config", "current", *arguments)
            return (await asyncio.to_thread(beside, daemon, *current)).stderr

        def of(kind: str) -> list[dict[str, Any]]:
            return [event for event in receiver.read() if event["type"] == kind]

        async with (
            at_work(daemon, receiver) as reader,
            aiohttp.ClientSession(headers=AUTHORIZED) as crm,
            connected(port) as switch,
        ):
            await until(lambda: "source.recovered" in types(reader), daemon=daemon)
            api = f"http://127.0.0.1:{daemon.http_port}/api/v1"
            numbers = [{"number": "08039100001"}, {"number": "08039100002"}]
            given = {"code": "C-1", "source": "lagos", "agent": "114", "numbers": numbers}
            async with crm.post(f"{api}/cases", json=given) as answer:
                assert answer.status == 201, await answer.text()
            async with crm.post(f"{api}/cases/C-1/dial", json={}) as answer:
                assert answer.status == 200, await answer.text()
            await until(lambda: len(dialler.orders) == 1, daemon=daemon)
            switch.write(line(1, dialled="08039100001", answered=False) + line(2))
            await until(lambda: len(of("call.ended")) == 2, daemon=daemon)
            before = [event["type"] for event in receiver.read()]

            configured('"Africa/Lagos"', '"UTC"')
            assert await replay("--dry-run") == "cdrhub: would be 2 changed\n"
            assert await replay("--dry-run", "--announce") == (
                "cdrhub: would be 2 changed; 2 events would be told: 2 call.corrected\n"
            )
            assert await replay("--announce") == "cdrhub: 2 changed; 2 events told: 2 call.corrected\n"
            await until(lambda: len(of("call.corrected")) == 2, daemon=daemon)
            assert [event["data"]["changed"] for event in sorted(of("call.corrected"), key=call_key)] == [
                ["started_at", "ended_at"],
                ["started_at", "answered_at", "ended_at"],
            ]
            assert await replay("--announce") == ""

            configured('region = "NG"', 'region = "NG"\nfields = ["historyid", "callid"]')
            said = "2 withdrawn, 2 suspended; 2 events told: 2 call.withdrawn"
            assert await replay("--announce") == f"cdrhub: {said}\n"
            await until(lambda: len(of("call.withdrawn")) == 2, daemon=daemon)
            await asyncio.sleep(1.5)  # a decision would follow its call by half a second
            assert await asyncio.to_thread(daemon.stop) == 0
    assert len(dialler.orders) == 1
    assert [event["type"] for event in receiver.read()] == [*before, *["call.corrected"] * 2, *["call.withdrawn"] * 2]


def call_key(event: dict[str, Any]) -> str:
    """Which call it is of."""
    return str(event["data"]["call_key"])
