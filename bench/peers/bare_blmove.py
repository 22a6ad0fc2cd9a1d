"""The loop that people write first: BLMOVE to a processing list, LREM, one entry after the other, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from redis.asyncio import Redis

WAIT_SECONDS = 1


async def drain(url: str, key: str) -> None:
    """Take entries for ever; each is gone once it was removed from the processing list."""
    client: Any = Redis.from_url(url)
    processing = f"{key}:processing"
    while True:
        entry = await client.blmove(key, processing, WAIT_SECONDS, "LEFT", "RIGHT")
        if entry is not None:
            await client.lrem(processing, 1, entry)


if __name__ == "__main__":
    asyncio.run(drain(sys.argv[1], sys.argv[2]))
