"""The simulated Call Control API and make_call link, and the lines of the calls that they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cdrhub.model.disposition import Disposition
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.dialled import CHANCES, Ordering, Timing
from cdrhub.sources.simulation.ledger import Ledger, read
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.simulate import MIX, PBX, simulate
from cdrhub.sources.threecx.simulate.lines import Version
from support.threecx import call_of
from support.truth import differences

NUMBER = "0612345678"
CLIENT = {"client_id": "900", "client_secret": "any", "grant_type": "client_credentials"}
SECONDS = 20.0


@dataclass
class Api:
    """The API of a simulated PBX, and the hub's end of its connection."""

    http: aiohttp.ClientSession
    lines: asyncio.Queue[bytes]
    simulation: Simulation

    async def token(self, **form: str) -> tuple[int, str]:
        async with self.http.post("/connect/token", data=CLIENT | form) as response:
            said = await response.json() if response.status == 200 else {}
            return response.status, said.get("access_token", "")

    async def ask(
        self, method: str, path: str, *, token: str = "", body: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, path, data=body, headers=headers, allow_redirects=False) as response:
            return response.status, await response.json() if response.content_type == "application/json" else {}

    async def line(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.lines.get()


@asynccontextmanager
async def working(
    *, fate: Disposition = Disposition.BUSY, version: Version = "v18", ledger: Path | None = None
) -> AsyncIterator[Api]:
    """A PBX in real time that nobody calls."""
    lines = asyncio.Queue[bytes]()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            lines.put_nowait(line)
        writer.close()

    hub = await asyncio.start_server(hear, "127.0.0.1", 0)
    now = datetime.now(UTC)
    centre = Centre(seed=1, start=now, calls_per_hour=0.01, mix=MIX)
    simulation = Simulation(centre=centre, pace=Pace(start=now), ledger=Ledger(ledger))
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    timing = Timing(picked_up=1, given_up=1, talk=(1, 1))
    ordering = Ordering(host="127.0.0.1", port=0, fate=lambda _number: fate, timing=timing, ready=address.set_result)
    port = hub.sockets[0].getsockname()[1]
    playing = asyncio.create_task(
        simulate(simulation, PBX(centre, version=version), host="127.0.0.1", port=port, ordering=ordering, wait=False)
    )
    try:
        async with asyncio.timeout(SECONDS):
            url = await address
        async with aiohttp.ClientSession(base_url=url) as http:
            yield Api(http=http, lines=lines, simulation=simulation)
        simulation.pace.finish()
        await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        hub.close()
        await hub.wait_closed()
        simulation.ledger.close()


async def test_a_call_that_is_asked_for_becomes_its_line() -> None:
    async with working(fate=Disposition.ANSWERED) as api:
        _, token = await api.token()
        status, said = await api.ask(
            "POST", "/callcontrol/101/makecall", token=token, body=f'{{"destination": "{NUMBER}"}}'
        )
        assert (status, said["finalstatus"], said["result"]["callid"]) == (200, "Success", 1)
        _, state = await api.ask("GET", "/callcontrol/101", token=token)
        assert [part["callid"] for part in state["participants"]] == [1]
        _, others = await api.ask("GET", "/callcontrol/102", token=token)
        assert others["participants"] == []
        call = call_of(await api.line(), settings=ThreeCXSettings(region="FR"))
        assert (call.disposition, call.agent_extension, call.external_number) == ("answered", "101", "+33612345678")
        assert call.started_at is not None
        assert abs((datetime.now(UTC) - call.started_at).total_seconds()) < SECONDS
        _, state = await api.ask("GET", "/callcontrol/101", token=token)
        assert state["participants"] == []
    assert api.simulation.sent.calls == 1


@pytest.mark.parametrize("version", ["v18", "v20"])
@pytest.mark.parametrize("fate", CHANCES)
async def test_an_ordered_call_is_what_the_ledger_says(fate: Disposition, version: Version, tmp_path: Path) -> None:
    async with working(fate=fate, version=version, ledger=tmp_path / "ledger") as api:
        _, token = await api.token()
        await api.ask("POST", "/callcontrol/101/makecall", token=token, body=f'{{"destination": "{NUMBER}"}}')
        call = call_of(await api.line(), settings=ThreeCXSettings(region="FR"))
    (entry,) = read(tmp_path / "ledger").values()
    assert differences(entry, call) == []


async def test_one_token_lives_at_a_time() -> None:
    async with working() as api:
        _, old = await api.token()
        _, new = await api.token()
        for token, status in (("", 401), ("nonsense", 401), (old, 401), (new, 200)):
            assert (await api.ask("GET", "/callcontrol/101", token=token))[0] == status
        assert (await api.token(client_secret=""))[0] == 400
        assert (await api.token(grant_type="password"))[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/callcontrol/nobody/makecall", f'{{"destination": "{NUMBER}"}}', 404),
        ("/callcontrol/101/makecall", '{"destination": "what"}', 422),
        ("/callcontrol/101/makecall", '{"destination": 6}', 422),
        ("/callcontrol/101/makecall", "[]", 422),
        ("/callcontrol/101/makecall", "{", 400),
        ("/xapi/v1/Users", "{}", 404),
    ],
)
async def test_what_it_refuses(path: str, body: str, status: int) -> None:
    async with working() as api:
        _, token = await api.token()
        assert (await api.ask("POST", path, token=token, body=body))[0] == status
    assert api.simulation.sent.calls == 0


async def test_the_link_leads_into_a_session_and_then_calls() -> None:
    link = f"/ivr/PbxAPI.aspx?func=make_call&from=101&to={NUMBER}&pin=1"
    async with working() as api:
        async with api.http.get(link, allow_redirects=False) as response:
            assert response.status == 302
        async with api.http.get(link) as response:
            assert response.status == 200
        call = call_of(await api.line(), settings=ThreeCXSettings(region="FR"))
        assert (call.disposition, call.agent_extension) == ("busy", "101")
        async with api.http.get(link.replace("make_call", "upd_ext")) as response:
            assert response.status == 400


async def test_calls_under_way_are_brought_to_their_end() -> None:
    async with working(fate=Disposition.ANSWERED) as api:
        _, token = await api.token()
        await api.ask("POST", "/callcontrol/101/makecall", token=token, body=f'{{"destination": "{NUMBER}"}}')
    assert api.simulation.sent.records == 1
