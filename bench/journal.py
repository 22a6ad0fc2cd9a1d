"""How fast the journal is: groups of lines as a TCP source appends them, and single appends of many callers.

    python bench/journal.py [directory]

Prints records per second, CPU per record of the whole process (both threads) and the latency of an append.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cdrhub.journal import Journal
from cdrhub.model.record import RawRecord, digest_of

GROUPS, GROUP, LINE = 500, 200, 200
CALLERS, APPENDS = 32, 300
READ, READ_BYTES = 1_000, 8 * 1024 * 1024


def _records(count: int, number: int, *, peer: str = "10.0.0.1") -> list[RawRecord]:
    now, attributes = datetime.now(UTC), {"peer": peer}
    bodies = [f"Call {number}.{place},".encode().ljust(LINE, b"x") for place in range(count)]
    return [
        RawRecord(
            source="lagos",
            received_at=now,
            content_type="text/plain",
            body=body,
            digest=digest_of(body),
            config_revision="0123456789abcdef",
            attributes=attributes,
        )
        for body in bodies
    ]


def _say(what: str, records: int, wall: float, cpu: float) -> None:
    print(f"{what:<46}{records / wall:>10,.0f} records/s {cpu / records * 1e6:>7.2f} us CPU/record")


async def _groups(directory: Path) -> None:
    groups = [_records(GROUP, number) for number in range(GROUPS)]
    total = GROUPS * GROUP
    journal = await Journal.open(directory / "groups")
    wall, cpu = time.perf_counter(), time.process_time()
    for group in groups:
        await journal.append(group)
    _say("append, one caller", total, time.perf_counter() - wall, time.process_time() - cpu)
    await journal.close()
    journal = await Journal.open(directory / "groups")
    wall, cpu, seq = time.perf_counter(), time.process_time(), 0
    while entries := await journal.read(after=seq, limit=READ, max_bytes=READ_BYTES):
        seq = entries[-1].seq
        await journal.checkpoint(seq)
    _say("read from disk and checkpoint", total, time.perf_counter() - wall, time.process_time() - cpu)

    async def drain(until: int) -> None:
        done = seq
        while done < until:
            await journal.wait_beyond(done)
            entries = await journal.read(after=done, limit=READ, max_bytes=READ_BYTES)
            done = entries[-1].seq
            await journal.checkpoint(done)

    async def send(mine: list[list[RawRecord]]) -> None:
        for group in mine:
            await journal.append(group)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(drain(seq + total), *(send(groups[start::4]) for start in range(4)))
    _say("append, read, checkpoint; four callers", total, time.perf_counter() - wall, time.process_time() - cpu)
    await journal.close()


async def _callers(directory: Path) -> None:
    journal = await Journal.open(directory / "callers")
    took: list[float] = []

    async def call(number: int) -> None:
        for turn in range(APPENDS):
            records = _records(1, number * APPENDS + turn, peer=f"10.0.0.{number}")
            begun = time.perf_counter()
            await journal.append(records)
            took.append(time.perf_counter() - begun)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(call(number) for number in range(CALLERS)))
    _say(f"single appends, {CALLERS} callers", CALLERS * APPENDS, time.perf_counter() - wall, time.process_time() - cpu)
    cuts = [cut * 1e3 for cut in statistics.quantiles(took, n=100)]
    print(f"  latency p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms; {journal.stats.groups} commits")
    await journal.close()


async def _main(directory: Path) -> None:
    await _groups(directory)
    await _callers(directory)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as name:
        asyncio.run(_main(Path(name)))
