"""The broadcast of the real daemon, killed between commit, request and answer: every call is told, under one id."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from pathlib import Path

import aiohttp

from support.broadcast import SECRET, Receiver, receiving
from support.broadcasting import until
from support.daemon import Daemon

PATH = "/ingest/voicenter/0123456789abcdef-secret"
CALLS = 300
KILLS = 4


def daemon(directory: Path, *, database_url: str, receiver: Receiver) -> Daemon:
    """A daemon that tells this receiver."""
    return Daemon(
        directory,
        database=database_url,
        sources=f"""
[sources.vendor]
type = "voicenter"
path = "{PATH}"
region = "NG"

[[broadcast.webhooks]]
name = "crm"
url = "{receiver.url}"
secret = "{SECRET}"
types = ["call.*"]
allow_private = true
""",
    )


async def push(hub: Daemon, number: int) -> None:
    """Push the record of a call until it is acknowledged."""
    record = {
        "ivruniqueid": f"call-{number}",
        "type": "Incoming Call",
        "status": "ANSWER",
        "caller": "08039100001",
        "target": "0722776772",
        "time": 1_790_000_000 + number,
        "duration": 30,
    }
    url = f"http://127.0.0.1:{hub.http_port}{PATH}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            try:
                async with session.post(url, json=record) as answer:
                    if answer.status == 200 and (await answer.json())["err"] == 0:
                        return
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.05)


async def test_every_call_is_told_under_one_id_whenever_the_hub_is_killed(tmp_path: Path, database_url: str) -> None:
    chance = random.Random(7)
    async with receiving() as receiver:
        hub = daemon(tmp_path, database_url=database_url, receiver=receiver)
        try:
            await asyncio.to_thread(hub.start)
            await push(hub, 0)
            await until(lambda: bool(receiver.taken))
            for kill in range(KILLS):
                if kill % 2:
                    receiver.answer = None  # requests leave and are not answered before the kill
                each = CALLS // KILLS
                pushing = [asyncio.create_task(push(hub, 1 + kill * each + number)) for number in range(each)]
                asked = len(receiver.asked)
                await until(lambda asked=asked: len(receiver.asked) > asked)  # type: ignore[misc]
                await asyncio.sleep(chance.random() * 0.2)
                await asyncio.to_thread(hub.kill)
                receiver.answer = lambda _received: 204
                await asyncio.to_thread(hub.start)
                await asyncio.gather(*pushing)
            await until(lambda: len({one.call for one in receiver.taken}) >= CALLS + 1)
            assert await asyncio.to_thread(hub.stop) == 0
        finally:
            hub.kill()
    ids = defaultdict(set)
    for one in receiver.asked:
        ids[one.call].add((one.id, one.type))
    assert {len(told) for told in ids.values()} == {1}
    assert len(ids) == CALLS + 1
    assert receiver.in_order()
