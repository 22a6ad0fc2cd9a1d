"""What the demo waits for before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cdrhub.cli.demo.daemon import QUIET_LOOKS, Daemon

Figures = Iterable[tuple[int, int]]
"""How many records were received and how many of them are stored, at each look."""


async def looks_until_caught_up(folder: Path, figures: Figures, *, sent: int, stall_seconds: float) -> int:
    """How often the figures of a daemon were looked at."""
    said, looks = iter(figures), 0

    async def metrics(_request: web.Request) -> web.Response:
        nonlocal looks
        looks += 1
        received, stored = next(said)
        lines = (
            f'cdrhub_records_received_total{{source="lagos"}} {received}',
            f'cdrhub_records_stored_total{{result="applied",source="lagos"}} {stored}',
        )
        return web.Response(text="\n".join(lines))

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    async with TestServer(application) as server, asyncio.timeout(60):
        await Daemon(folder, port=server.port or 0).caught_up({"lagos": sent}, stall_seconds=stall_seconds)
    return looks


async def test_a_slow_daemon_is_waited_for_as_long_as_it_goes_on(tmp_path: Path) -> None:
    slow = chain(zip(range(30), range(30), strict=True), repeat((30, 30)))  # three seconds at least
    assert await looks_until_caught_up(tmp_path, slow, sent=30, stall_seconds=2.0) == 31 + QUIET_LOOKS


@pytest.mark.parametrize("before", [(3, 3), (30, 3)])
async def test_what_is_on_its_way_or_waits_in_the_journal_is_waited_for(
    tmp_path: Path, before: tuple[int, int]
) -> None:
    pausing = chain(repeat(before, QUIET_LOOKS + 2), repeat((30, 30)))
    looks = await looks_until_caught_up(tmp_path, pausing, sent=30, stall_seconds=60.0)
    assert looks == QUIET_LOOKS + 2 + 1 + QUIET_LOOKS


async def test_one_that_takes_nothing_more_in_is_not_waited_for(tmp_path: Path) -> None:
    stuck = chain(zip(range(3), range(3), strict=True), repeat((3, 3)))
    assert await looks_until_caught_up(tmp_path, stuck, sent=30, stall_seconds=2.0) > 3
