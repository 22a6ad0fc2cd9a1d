"""What the demo waits for before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from cdrhub.cli.demo.daemon import QUIET_LOOKS, Daemon


async def looks_until_caught_up(folder: Path, stored: Iterable[int], *, sent: int, stall_seconds: float) -> int:
    """How often the figures were looked at, of a daemon that has stored so many records at each look."""
    said, looks = iter(stored), 0

    async def metrics(_request: web.Request) -> web.Response:
        nonlocal looks
        looks += 1
        records = next(said)
        lines = (
            f'cdrhub_records_received_total{{source="lagos"}} {records}',
            f'cdrhub_records_stored_total{{result="applied",source="lagos"}} {records}',
        )
        return web.Response(text="\n".join(lines))

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    async with TestServer(application) as server, asyncio.timeout(60):
        await Daemon(folder, port=server.port or 0).caught_up({"lagos": sent}, stall_seconds=stall_seconds)
    return looks


async def test_a_slow_daemon_is_waited_for_as_long_as_it_goes_on(tmp_path: Path) -> None:
    slow = chain(range(30), repeat(30))  # three seconds at least
    assert await looks_until_caught_up(tmp_path, slow, sent=30, stall_seconds=2.0) == 31 + QUIET_LOOKS


async def test_one_that_takes_nothing_more_in_is_not_waited_for(tmp_path: Path) -> None:
    assert await looks_until_caught_up(tmp_path, chain(range(3), repeat(3)), sent=30, stall_seconds=2.0) > 3
