"""A minimal Event Socket client in asyncio: frames, and every header of an event decoded into a dict. Keeps nothing."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import unquote

READ_LIMIT = 1 << 20


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    lines = (await reader.readuntil(b"\n\n")).decode().split("\n")
    return dict(line.split(": ", 1) for line in lines if ": " in line)


async def listen(port: int, *, password: str, subscription: str, seconds: float) -> int:
    """The events that were parsed within `seconds` of the first one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=READ_LIMIT)
    for command in (f"auth {password}", subscription):
        await _head(reader)
        writer.write(f"{command}\n\n".encode())
    await _head(reader)
    count, until = 0, float("inf")
    while time.monotonic() < until:
        head = await _head(reader)
        body = (await reader.readexactly(int(head["Content-Length"]))).decode("utf-8", "replace")
        headers = {}
        for line in body.partition("\n\n")[0].split("\n"):
            name, _, value = line.partition(": ")
            headers[name] = unquote(value)
        count += bool(headers)
        if count == 1:
            until = time.monotonic() + seconds
    writer.close()
    return count


def main() -> None:
    """`python -m bench.peers.asyncio_esl PORT PASSWORD SUBSCRIPTION SECONDS`"""
    port, password, subscription, seconds = sys.argv[1:]
    count = asyncio.run(listen(int(port), password=password, subscription=subscription, seconds=float(seconds)))
    print(json.dumps({"events": count, "per_second": count / float(seconds)}))


if __name__ == "__main__":
    main()
