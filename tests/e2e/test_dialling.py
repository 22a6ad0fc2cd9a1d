"""Cases dialled through simulated phone systems by the real daemon: orders out, records in, matched by reference."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from cdrhub.model.disposition import Disposition
from cdrhub.sources.astercc import simulate as astercc
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.dialled import Ordering, Timing
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.sources.voicenter import simulate as voicenter
from support.daemon import Daemon
from support.dialling import Request, vendor
from support.servers import free_port
from support.sql import rows

TOKEN = "a-token-of-many-letters"
SECONDS = 120.0  #: for a case to be over
FIRST, SECOND = "first", "second"

FATES = (Disposition.NOT_DIALLED, Disposition.NO_ANSWER, Disposition.ANSWERED)
"""Of the case's calls, one after the other: the agent does not pick up, and the first number is tried again; it is not
answered, and the second one is tried."""


async def play_voicenter(simulation: Simulation, url: str, ordering: Ordering) -> None:
    await voicenter.simulate(simulation, voicenter.Account(simulation.centre), url=url, ordering=ordering)


async def play_astercc(simulation: Simulation, url: str, ordering: Ordering) -> None:
    await astercc.simulate(simulation, url=url, timezone="Asia/Shanghai", ordering=ordering)


SYSTEMS = {
    "voicenter": (
        play_voicenter,
        {"region": "IL", "agent": "SIPSIP901", FIRST: "0545550101", SECOND: "0545550102"},
        f'url = "http://127.0.0.1:{{port}}{voicenter.PATH}"\ncode = "the-accounts-code"',
        "",
    ),
    "astercc": (
        play_astercc,
        {"region": "CN", "agent": "7901", FIRST: "13955550101", SECOND: "13955550102"},
        f'url = "http://127.0.0.1:{{port}}{astercc.PATH}"\nteam = "demo"\npassword = "any"\nmodel_id = "10"\n'
        'region = "CN"',
        'timezone = "Asia/Shanghai"',
    ),
}


def asked(daemon: Daemon, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{daemon.http_port}/api/v1{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status in (200, 201)


def contacted(database: Path) -> None:
    """Wait until the case is."""
    deadline = time.monotonic() + SECONDS
    while (found := rows(f"sqlite:///{database}", "SELECT state, state_reason FROM cases")) != [("contacted", "")]:
        assert time.monotonic() < deadline, f"the case is {found}"
        time.sleep(0.1)


async def worked_through(
    folder: Path, system: str, fates: Sequence[Disposition], *, order_port: int, port: int
) -> None:
    """A case of two numbers, dialled until its person was reached: its calls end in `fates`. Orders are sent to
    `order_port`; the simulated system takes them at `port`."""
    play, case, dialler, source = SYSTEMS[system]
    database, path = folder / "cdrhub.db", f"/ingest/{system}/0123456789abcdef"
    daemon = Daemon(
        folder,
        database=f"sqlite:///{database}",
        extra=f'[[http.tokens]]\nname = "crm"\ntoken = "{TOKEN}"\nrole = "operate"\n',
        sources=f'[redial]\nmode = "on"\nagent_retry_seconds = 1\n\n[redial.diallers.it]\ntype = "{system}"\n'
        f'{dialler.format(port=order_port)}\n\n[sources.there]\ntype = "{system}"\npath = "{path}"\n'
        f'region = "{case["region"]}"\ndialler = "it"\nsettle_seconds = 1\n{source}\n',
    )
    now, left, listening = datetime.now(UTC), list(fates), asyncio.Event()
    simulation = Simulation(centre=Centre(start=now, region=case["region"], calls_per_hour=0.001), pace=Pace(start=now))
    ordering = Ordering(
        host="127.0.0.1",
        port=port,
        fate=lambda _number: left.pop(0),
        timing=Timing(picked_up=1, given_up=1, talk=(1, 1)),
        ready=lambda _url: listening.set(),
    )
    await asyncio.to_thread(daemon.start)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play(simulation, f"http://127.0.0.1:{daemon.http_port}{path}", ordering))
            await listening.wait()
            numbers = [{"number": case[FIRST]}, {"number": case[SECOND]}]
            await asyncio.to_thread(
                asked, daemon, "/cases", {"code": "C-1", "source": "there", "agent": case["agent"], "numbers": numbers}
            )
            await asyncio.to_thread(asked, daemon, "/cases/C-1/dial", {})
            await asyncio.to_thread(contacted, database)
            simulation.pace.finish()
    finally:
        await asyncio.to_thread(daemon.stop)
    assert "the-accounts-code" not in daemon.log.read_text()


def attempts_in(database: Path) -> Sequence[tuple[object, ...]]:
    """(number, state, outcome, disposition of its call, whether the call knows of it, vendor's id), in their order."""
    return rows(
        f"sqlite:///{database}",
        "SELECT attempts.number, attempts.state, attempts.outcome, calls.disposition, calls.attempt_id = attempts.id, "
        "attempts.vendor_ref = calls.call_key "
        "FROM attempts LEFT JOIN calls ON calls.id = attempts.call_id ORDER BY attempts.id",
    )


@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_case_is_dialled_to_its_last_number(tmp_path: Path, system: str) -> None:
    port = free_port()
    await worked_through(tmp_path, system, FATES, order_port=port, port=port)
    case = SYSTEMS[system][1]
    named = int(system == "voicenter")  # whose answer has the id of the call
    assert attempts_in(tmp_path / "cdrhub.db") == [
        (number, "ended", fate, fate, 1, named)
        for number, fate in zip((case[FIRST], case[FIRST], case[SECOND]), FATES, strict=True)
    ]
    query = "SELECT type FROM outbox WHERE type LIKE 'call.%' AND type <> 'call.settled'"
    facts = rows(f"sqlite:///{tmp_path / 'cdrhub.db'}", query)
    told = [fact for (fact,) in facts]
    assert (told.count("call.hangup"), told.count("call.ended")) == (2, 1)


@pytest.mark.parametrize("system", SYSTEMS)
async def test_where_every_answer_is_lost_each_number_is_dialled_once_and_found_by_its_reference(
    tmp_path: Path, system: str
) -> None:
    port, case = free_port(), SYSTEMS[system][1]
    async with vendor() as between, ClientSession() as client:

        async def pass_on(request: Request) -> None:
            """To the simulated system, whose answer nobody else hears of."""
            url = f"http://127.0.0.1:{port}{request.target}"
            kind = {"Content-Type": request.headers["content-type"]}
            async with client.post(url, data=request.body, headers=kind) as answer:
                assert answer.status == 200

        between.asked = pass_on
        fates = FATES[1:]
        await worked_through(tmp_path, system, fates, order_port=int(between.url.rpartition(":")[2]), port=port)
    assert len(between.requests) == len(fates)
    assert attempts_in(tmp_path / "cdrhub.db") == [
        (number, "ended", fate, fate, 1, 0) for number, fate in zip((case[FIRST], case[SECOND]), fates, strict=True)
    ]
