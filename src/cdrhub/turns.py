"""Turns: whoever works through many things in the event loop lets others have theirs in between.

What is done for a whole batch at once keeps every answer waiting, and those of a phone system first.
"""

from __future__ import annotations

import asyncio

AT_ONCE = 20  #: records decoded, calls folded or looked at: a millisecond or two


async def give_way(number: int) -> None:
    """Let other tasks have their turn if `number` things, from one on, are a turn's work."""
    if number % AT_ONCE == 0:
        await asyncio.sleep(0)
