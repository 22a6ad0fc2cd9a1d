"""A Redis list that a worker would drain, looked at and left alone; and whether we may do what draining takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from cdrhub.sources.transports.redis_client import awaited, is_unknown, signalled
from cdrhub.sources.transports.redis_list import Drained, Transaction, holder_of, lease_of

#: Carries these commands out on one key, whatever becomes of each, and answers with the first refusal.
_TRY: Final = """
local refused = 1
for _, command in ipairs(cjson.decode(ARGV[1])) do
  local said = redis.pcall(command[1], KEYS[1], unpack(command, 2))
  if refused == 1 and type(said) == 'table' and said.err then refused = said end
end
return refused
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A list as it is at the moment, without touching it."""

    entries: int
    processing: int
    holder: str | None
    scripts: bool  #: whether this Redis runs scripts for us


async def look(client: Redis, drained: Drained, *, seconds: float) -> Look:
    """How the list is, and that we may do what draining it takes; Redis has `seconds` to answer. Raises as the methods
    of `LeasedList` do."""
    with signalled(drained.key):
        async with asyncio.timeout(seconds):
            entries = await awaited(client.llen(drained.key))
            processing = await awaited(client.llen(drained.processing))
            holder: bytes | None = await awaited(client.get(drained.lease))
            scripts = await _try_by_script(client, drained)
    return Look(
        entries=entries, processing=processing, holder=None if holder is None else holder_of(holder), scripts=scripts
    )


async def _try_by_script(client: Redis, drained: Drained) -> bool:
    """Whether this Redis runs scripts for us. Raises ResponseError where these may not do what draining takes."""
    try:
        script = await awaited(client.script_load(_TRY))
        await awaited(client.evalsha(script, 1, _trial(drained), json.dumps(_tried(drained))))
    except ResponseError as error:
        if not is_unknown(error):
            raise
        return False
    return True


async def try_plainly(client: Redis, drained: Drained, *, seconds: float) -> None:
    """That we may do what draining the list plainly takes. Otherwise as `look`."""
    with signalled(drained.key):
        async with asyncio.timeout(seconds), Transaction(client) as pipe:
            await pipe.watch(_trial(drained))
            await pipe.unwatch()  # type: ignore[no-untyped-call]  # redis-py's own
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py's own
            for name, *rest in (*_tried(drained), (drained.pop,)):
                pipe.execute_command(name, _trial(drained), *rest)
            await pipe.execute()


async def waits_unread(client: Redis, key: str, *, seconds: float) -> int:
    """How many entries wait in a list that nobody reads; 0 where somebody does. Otherwise as `look`."""
    with signalled():
        async with asyncio.timeout(seconds):
            lease = await awaited(client.get(lease_of(key)))
            return 0 if lease is not None else int(await awaited(client.llen(key)))


def _trial(drained: Drained) -> str:
    """A key beside the list on which it is tried what is allowed; nobody ever sees anything there."""
    return f"{drained.key}:cdrhub:trial"


def _tried(drained: Drained) -> Sequence[Sequence[str]]:
    """What draining does to keys, as commands that leave nothing. EXPIRE first: see the scripts."""
    for_a_second = ("EXPIRE", "1")
    text = (("SETEX", "1", ""), ("GET",), ("DEL",))
    entries = ((drained.push, ""), ("LRANGE", "0", "-1"), for_a_second, ("LTRIM", "1", "0"))
    return (for_a_second, *text, *entries)
