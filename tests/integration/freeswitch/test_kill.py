"""kill -9 of a daemon that listens to a switch, again and again, while calls go on.

The Event Socket repeats nothing, so what the switch says while nobody listens is lost, and the coverage says when. What
the daemon had taken is there after the restart, and every call once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.esl import PASSWORD, EventSocketServer, event
from support.freeswitch import Switch
from support.intake import until
from support.sql import rows

BURST = 20  #: calls between two breaths of the switch
BREATH_SECONDS = 0.05
KILLS = {"sqlite": 5, "postgres": 3}


@dataclass(slots=True)
class Said:
    """What the switch said on the connection that is open: the call of each event, in order."""

    keys: list[str] = field(default_factory=list)
    number: int = 0


def story(switch: Switch, key: str, number: int) -> list[bytes]:
    """A caller who enters a queue and gives up."""
    member = {"CC-Queue": "3000@default", "CC-Member-UUID": f"m-{key}", "CC-Member-Session-UUID": key}
    at = float(number)
    left = {
        "CC-Cause": "Cancel",
        "CC-Cancel-Reason": "BREAK_OUT",
        "CC-Member-Joined-Time": switch.second(at),
        "CC-Member-Leaving-Time": switch.second(at + 9),
        "Caller-Channel-Created-Time": switch.micro(at),
        "Caller-Channel-Hangup-Time": switch.micro(at + 9),
        "Hangup-Cause": "NORMAL_CLEARING",
    }
    return [
        switch.callcenter("member-queue-start", member, at=at),
        switch.callcenter("member-queue-end", member | left, at=at + 9),
    ]


async def talk(server: EventSocketServer, said: Said) -> None:
    """Calls without end, to whoever listens."""
    switch = Switch()
    while True:
        for _ in range(BURST):
            said.number += 1
            key = f"call-{said.number:06}"
            for body in story(switch, key, said.number):
                while not server.subscribers:  # noqa: ASYNC110 - a start that goes record by record takes its time
                    await asyncio.sleep(0.01)
                with contextlib.suppress(ConnectionError):
                    await server.subscribers[0].send(event(body))
                    said.keys.append(key)
        await asyncio.sleep(BREATH_SECONDS)


@pytest.mark.parametrize("engine", KILLS)
async def test_killed_again_and_again(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    url, times, chance = request.getfixturevalue(f"{engine}_url"), KILLS[engine], random.Random(7)
    said, durable = Said(), set[str]()
    async with EventSocketServer() as server:
        daemon = Daemon(
            tmp_path / "daemon",
            database=url,
            sources=f'[sources.callcentre]\ntype = "freeswitch"\nport = {server.port}\npassword = "{PASSWORD}"\n',
        )
        talking = asyncio.create_task(talk(server, said))
        try:
            for turn in range(times + 1):
                said.keys.clear()
                await asyncio.to_thread(daemon.start)
                await asyncio.to_thread(daemon.wait_for, "cdrhub_records_acknowledged_total", 100, source="callcentre")
                await asyncio.sleep(chance.uniform(0, 0.5))
                taken = await asyncio.to_thread(daemon.metric, "cdrhub_records_acknowledged_total", source="callcentre")
                durable |= set(said.keys[: int(taken)])
                if turn < times:
                    daemon.kill()
                    await until(lambda: not server.open)
            talking.cancel()
            await asyncio.wait({talking})
            durable |= set(said.keys)
            await asyncio.to_thread(daemon.drained)  # a stop does not wait for ever
            assert await asyncio.to_thread(daemon.stop) == 0
        finally:
            talking.cancel()
            await asyncio.wait({talking})
            daemon.kill()

    stored = {key for (key,) in rows(url, "SELECT call_key FROM calls")}
    assert len(durable) >= 50 * times
    assert durable <= stored
    assert rows(url, "SELECT call_key FROM calls GROUP BY call_key, source HAVING count(*) > 1") == []
    assert rows(url, "SELECT 1 FROM records WHERE state = 'suspended'") == []
    ((last,),) = rows(url, f"SELECT state FROM calls WHERE call_key = '{max(durable)}'")
    assert last == "ended"
    ((blind,),) = rows(url, "SELECT count(DISTINCT since) FROM coverage WHERE state = 'blind'")
    assert isinstance(blind, int)
    assert blind >= times
