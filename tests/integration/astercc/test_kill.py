"""kill -9 at random moments while events are pushed: every acknowledged event is there after the restart, every call
once. asterCC sends nothing again, and neither does the team of this test."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import pytest

from cdrhub.model.record import digest_of
from support.astercc import PATH, event
from support.daemon import Daemon

WORKERS = 8
WORDS = (("CALLEE", "ringing", 0), ("CALLEE", "answer", 9), ("CALLEE", "hangup", 40), ("CONVERSATION", "hangup", 41))


@dataclass(slots=True)
class Told:
    """The events that were acknowledged."""

    digests: set[bytes] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)  #: sessions of which an event that makes a call was
    over: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def progress(self, amount: int) -> None:
        """Wait until so many more were acknowledged."""
        goal = len(self.digests) + amount
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.digests) >= goal)


async def push_for_ever(told: Told, *, url: str, worker: int) -> None:
    """Calls one after the other, their events in any order, some of them twice."""
    chance = Random(worker)
    number = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while not told.over:
            number += 1
            key = f"w{worker}n{number}"
            words = chance.sample(WORDS, len(WORDS)) + chance.choices(WORDS, k=1)
            for place, (source, word, second) in enumerate(words):
                body = event(source, word, second, sessionid=key, eventid=str(number * 10 + WORDS.index(words[place])))
                try:
                    async with session.post(url, data=body) as answer:
                        if (answer.status, await answer.read()) != (200, b"OK"):
                            continue
                except (aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(0.02)
                    continue
                told.digests.add(digest_of(body))
                if source == "CALLEE":
                    told.calls.add(key)
                async with told.changed:
                    told.changed.notify_all()


async def killed_again_and_again(folder: Path, *, times: int) -> None:
    chance = Random(times)
    database = folder / "hub.db"
    daemon = Daemon(
        folder / "daemon",
        database=f"sqlite:///{database}",
        sources=f'[sources.shanghai]\ntype = "astercc"\npath = "{PATH}"\n',
    )
    told = Told()
    await asyncio.to_thread(daemon.start)
    url = f"http://127.0.0.1:{daemon.http_port}{PATH}"
    pushing = [asyncio.create_task(push_for_ever(told, url=url, worker=worker)) for worker in range(WORKERS)]
    try:
        for _ in range(times):
            await told.progress(100)
            await asyncio.sleep(chance.uniform(0, 0.6))
            daemon.kill()
            await asyncio.to_thread(daemon.start)
        told.over = True
        await asyncio.gather(*pushing)
        await asyncio.to_thread(daemon.drained)
        assert await asyncio.to_thread(daemon.stop) == 0
    finally:
        told.over = True
        await asyncio.gather(*pushing, return_exceptions=True)
        daemon.kill()

    with contextlib.closing(sqlite3.connect(database)) as connection:
        kept = [digest for (digest,) in connection.execute("SELECT digest FROM records WHERE state = 'applied'")]
        calls = [key for (key,) in connection.execute("SELECT call_key FROM calls")]
        strange = connection.execute("SELECT count(*) FROM records WHERE state = 'suspended'").fetchone()
        whole = connection.execute(
            "SELECT count(*), min(disposition), max(disposition), min(talk_seconds), max(talk_seconds)"
            " FROM calls WHERE record_count = ?",
            (len(WORDS),),
        ).fetchone()
    assert len(told.digests) >= 100 * times
    assert told.digests <= set(kept)
    assert len(kept) == len(set(kept))
    assert told.calls <= set(calls)
    assert len(calls) == len(set(calls))
    assert strange == (0,)
    assert whole[0] > 0
    assert whole[1:] == ("answered", "answered", 31, 31)


async def test_killed_four_times(tmp_path: Path) -> None:
    await killed_again_and_again(tmp_path, times=4)


@pytest.mark.soak
async def test_killed_fifty_times(tmp_path: Path) -> None:
    await killed_again_and_again(tmp_path, times=50)
