"""The dialler's other lists of CDRs, which may fill up because no hub reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from redis.asyncio import Redis

from cdrhub.errors import BackOff
from cdrhub.sources.base import Intake
from cdrhub.sources.transports.redis_look import waits_unread
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

#: How their names end: the vendor's pages "Campaign CDR" and "Click2Dial CDR", the last one as that was called before.
CDR_LISTS: Final = ("campaigns", "cdr", "c2d")
LOOK_EVERY_SECONDS: Final = 60.0
SAID_EVERY_SECONDS: Final = 3600.0


def lists_beside(keys: Sequence[str]) -> list[str]:
    """The dialler's lists of CDRs that are not among `keys`, as far as their names tell."""
    families = {key.removesuffix(name) for key in keys for name in CDR_LISTS if key.endswith(f":{name}")}
    return [family + name for family in sorted(families) for name in CDR_LISTS if family + name not in keys]


async def unread(client: Redis, keys: Sequence[str], *, seconds: float) -> dict[str, int]:
    """How many entries wait in each list beside `keys` that nobody reads, without those that are empty, are no list or
    must not be looked at. Raises NotConnected."""
    found = {}
    for key in lists_beside(keys):
        with suppress(BackOff):
            if entries := await waits_unread(client, key, seconds=seconds):
                found[key] = entries
    return found


async def watch(client: Redis, keys: Sequence[str], *, intake: Intake, seconds: float) -> None:
    """Say now and then which lists fill unread, until cancelled. Raises as `unread` does."""
    throttle = Throttle(every=SAID_EVERY_SECONDS)
    while True:
        for key, entries in (await unread(client, keys, seconds=seconds)).items():
            if throttle.allows(key):
                intake.count("list_not_read")
                log.warning(
                    "CDRs wait in a list that no hub reads: add it to the keys of the source",
                    action="list_not_read",
                    source=intake.source,
                    list=key,
                    waiting=entries,
                )
        await asyncio.sleep(LOOK_EVERY_SECONDS)
