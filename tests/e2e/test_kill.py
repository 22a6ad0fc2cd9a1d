"""kill -9 at random moments under load: every acknowledged record is there after the restart, every call once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import socket
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from cdrhub.sources.runner import NOT_RUNNING
from support.commands import cdrhub
from support.daemon import Daemon
from support.servers import free_port
from support.sql import rows, rows_once_there

TAKEN = "cdrhub_records_acknowledged_total"
PATH = "/ingest/voicenter/0123456789abcdef-secret"
WORKERS = 8
LINE = "Call {n},{n:016X}_{n},00:00:10,2026/03/09 10:00:00,2026/03/09 10:00:05,2026/03/09 10:00:15,TerminatedBySrc,"
LINE += "0266904995,Ext.114,10000,114,114,,,,,,,,Chain: 0266904995;Ext.114;\r\n"


@dataclass(slots=True)
class Load:
    """What the senders sent, and what they were told."""

    acknowledged: set[str] = field(default_factory=set)
    posted: int = 0
    lines: int = 0
    over: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def acknowledge(self, key: str) -> None:
        """The daemon said that it has this record."""
        self.acknowledged.add(key)
        self.posted += 1
        async with self.changed:
            self.changed.notify_all()

    async def progress(self, posts: int) -> None:
        """Wait until so many more were acknowledged."""
        goal = self.posted + posts
        async with self.changed:
            await self.changed.wait_for(lambda: self.posted >= goal)


async def post_for_ever(load: Load, *, port: int, worker: int) -> None:
    """Post Voicenter records one after the other; what was not acknowledged is sent again, as the vendor does."""
    number = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while not load.over:
            number += 1
            key = f"w{worker}n{number}"
            record: dict[str, object] = {
                "ivruniqueid": key,
                "type": "Incoming Call",
                "status": "ANSWER",
                "caller": "0501234567",
            }
            record |= {"target": "0722776772", "time": 1_790_000_000 + number, "duration": 5, "dialtime": 3}
            while not load.over:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(f"http://127.0.0.1:{port}{PATH}", json=record) as answer:
                        if answer.status == 200 and (await answer.json())["err"] == 0:
                            await load.acknowledge(key)
                            break
                await asyncio.sleep(0.02)


async def lines_for_ever(load: Load, *, port: int) -> None:
    """Send 3CX lines as an active socket does: connect, hold, come back."""
    while not load.over:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while not load.over:
                    load.lines += 1
                    writer.write(LINE.format(n=load.lines).encode())
                    await writer.drain()
                    await asyncio.sleep(0.001)
            finally:
                writer.close()
        await asyncio.sleep(0.05)


async def killed_again_and_again(tmp_path: Path, url: str, *, times: int, seed: int) -> None:
    chance = random.Random(seed)
    tcp = free_port()
    daemon = Daemon(
        tmp_path / "daemon",
        database=url,
        sources=f"""
[sources.pbx]
type = "3cx"
listen = "127.0.0.1:{tcp}"

[sources.vendor]
type = "voicenter"
path = "{PATH}"
""",
    )
    load = Load()
    await asyncio.to_thread(daemon.start)
    senders = [
        asyncio.create_task(lines_for_ever(load, port=tcp)),
        *(asyncio.create_task(post_for_ever(load, port=daemon.http_port, worker=worker)) for worker in range(WORKERS)),
    ]
    try:
        for _ in range(times):
            await load.progress(50)
            await asyncio.sleep(chance.uniform(0, 0.6))
            daemon.kill()
            await asyncio.to_thread(daemon.start)
        load.over = True
        await asyncio.gather(*senders)
        await asyncio.to_thread(daemon.drained, seconds=180.0)
        assert await asyncio.to_thread(daemon.stop) == 0
    finally:
        load.over = True
        await asyncio.gather(*senders, return_exceptions=True)
        daemon.kill()

    stored = {key for (key,) in rows(url, "SELECT call_key FROM calls WHERE system = 'voicenter'")}
    assert len(load.acknowledged) >= 50 * times
    assert load.acknowledged <= stored
    assert rows(url, "SELECT call_key FROM calls GROUP BY call_key, source HAVING count(*) > 1") == []
    ((calls, records, linked),) = rows(
        url,
        "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM records WHERE state = 'applied' AND call_id"
        " IS NOT NULL), (SELECT count(DISTINCT call_id) FROM records)",
    )
    assert calls == records == linked
    assert rows(url, "SELECT 1 FROM records WHERE state = 'suspended'") == []


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_killed_five_times(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    times = 5 if engine == "sqlite" else 3
    await killed_again_and_again(tmp_path, request.getfixturevalue(f"{engine}_url"), times=times, seed=times)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_killed_fifty_times(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    await killed_again_and_again(tmp_path, request.getfixturevalue(f"{engine}_url"), times=50, seed=50)


def test_what_was_seen_until_a_kill_is_told_once(tmp_path: Path, sqlite_url: str) -> None:
    """A minute lies between two notes that the daemon runs; what it saw in that minute is not blind as well."""
    tcp = free_port()
    daemon = Daemon(
        tmp_path / "daemon", database=sqlite_url, sources=f'[sources.pbx]\ntype = "3cx"\nlisten = "127.0.0.1:{tcp}"\n'
    )
    daemon.start()
    try:
        with socket.create_connection(("127.0.0.1", tcp)):
            rows_once_there(sqlite_url, "SELECT since FROM coverage WHERE state = 'connected'")
            daemon.kill()
        time.sleep(NOT_RUNNING.total_seconds())  # a copy of a warm process is there before that is over
        daemon.start()
        daemon.drained()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    shown = cdrhub("coverage", "--config", daemon.config, "--format", "ndjson", folder=tmp_path)
    stretches = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [said["state"] for said in stretches].count("connected") == 1
    assert [said["detail"] for said in stretches].count("the daemon did not run, or not with this source") == 1
    assert [(one, after) for one, after in pairwise(stretches) if one["until"] != after["since"]] == []


def test_what_was_rotated_away_while_no_daemon_ran_is_read(tmp_path: Path, sqlite_url: str) -> None:
    log = tmp_path / "cdr.log"
    source = f'[sources.pbx]\ntype = "3cx"\nmode = "file"\npath = "{log}"\n'
    daemon = Daemon(tmp_path / "daemon", database=sqlite_url, sources=source)

    def write(*numbers: int) -> None:
        with log.open("ab") as file:
            file.write("".join(LINE.format(n=number) for number in numbers).encode())

    def rotate() -> None:
        for part in sorted(tmp_path.glob("cdr.log.*"), reverse=True):
            part.rename(part.with_suffix(f".{int(part.suffix[1:]) + 1}"))
        log.rename(tmp_path / "cdr.log.1")

    write(1, 2)
    daemon.start()
    try:
        daemon.wait_for("cdrhub_records_acknowledged_total", 2, source="pbx")
        daemon.kill()
        write(3)
        for number in (4, 6, 8):
            rotate()
            write(number, number + 1)
        time.sleep(NOT_RUNNING.total_seconds())  # a copy of a warm process is there before that is over
        daemon.start()
        daemon.wait_for("cdrhub_records_acknowledged_total", 7, source="pbx")
        write(10)
        daemon.wait_for("cdrhub_records_acknowledged_total", 8, source="pbx")
        daemon.drained()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    stored = [int(str(key).partition("/")[0]) for (key,) in rows(sqlite_url, "SELECT call_key FROM calls")]
    assert sorted(stored) == list(range(1, 11))
    shown = cdrhub("coverage", "--config", daemon.config, "--format", "ndjson", folder=tmp_path)
    spans = {(said["state"], said["detail"]): said for said in map(json.loads, shown.stdout.splitlines())}
    away = spans["blind", "the daemon did not run, or not with this source"]
    again = spans["backfilled", "read from cdr.log"]
    assert again["since"] == away["since"]
    assert again["until"] >= away["until"]


async def test_every_number_of_a_pbx_is_stored_or_told_as_missing(tmp_path: Path, sqlite_url: str) -> None:
    """A socket has no acknowledgement, so records are lost; which ones is known, and nothing else is said to be."""
    tcp = free_port()
    source = f'[sources.pbx]\ntype = "3cx"\nlisten = "127.0.0.1:{tcp}"\nsettle_seconds = 3.0\n'
    daemon = Daemon(tmp_path / "daemon", database=sqlite_url, sources=source)
    load = Load()
    await asyncio.to_thread(daemon.start)
    sender = asyncio.create_task(lines_for_ever(load, port=tcp))

    async def more(records: int) -> None:
        seen = await asyncio.to_thread(daemon.metric, TAKEN, source="pbx")
        await asyncio.to_thread(daemon.wait_for, TAKEN, seen + records, source="pbx")

    try:
        for seconds in (4.0, 5.0):
            await more(50)
            daemon.config.write_text(re.sub(r"(settle_seconds) = .*", rf"\1 = {seconds}", daemon.config.read_text()))
            daemon.signal(signal.SIGHUP)
            await more(50)
            daemon.kill()
            await asyncio.to_thread(daemon.start)
            await more(50)
            assert await asyncio.to_thread(daemon.stop) == 0
            await asyncio.to_thread(daemon.start)
        await more(50)
        load.over = True
        await sender
        with socket.create_connection(("127.0.0.1", tcp)) as last:
            last.sendall(LINE.format(n=load.lines + 1).encode())
            assert await asyncio.to_thread(daemon.stop) == 0
    finally:
        load.over = True
        await asyncio.gather(sender, return_exceptions=True)
        daemon.kill()

    stored = {int(str(key).partition("/")[0]) for (key,) in rows(sqlite_url, "SELECT call_key FROM calls")}
    missing: set[int] = set()
    for (detail,) in rows(sqlite_url, "SELECT DISTINCT detail FROM coverage WHERE detail LIKE 'historyid %'"):
        first, last_one = re.findall(r"^historyid (\d+)(?:\.\.(\d+))? ", str(detail))[0]
        missing |= set(range(int(first), int(last_one or first) + 1))
    assert stored | missing == set(range(1, load.lines + 2))
    assert stored & missing == set()
