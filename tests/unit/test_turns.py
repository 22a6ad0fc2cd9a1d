"""Whoever works through many things lets others have their turn."""

from __future__ import annotations

import asyncio
import time

from cdrhub.turns import Turn

PATIENCE_SECONDS = 5.0


async def test_others_have_their_turn_in_between() -> None:
    ran = asyncio.Event()

    async def other() -> None:
        ran.set()

    waiting = asyncio.create_task(other())
    turn, until = Turn(), time.monotonic() + PATIENCE_SECONDS
    while not ran.is_set() and time.monotonic() < until:
        await turn.give_way()
    assert ran.is_set()
    await waiting
