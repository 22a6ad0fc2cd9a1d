"""Settled calls through decision and facts in PostgreSQL, while they are taken in; with a million open cases, and with
none; and how long one decision about a case takes among a million.

Calls come as 3CX lines over TCP to the real daemon. At most AHEAD of them are between the sender and the decision, so
that the rate is that of the whole way: journal, fold, rows, decision, facts. One call in twenty is that of an attempt.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from bench import load
from bench.machine import cpu_seconds
from cdrhub.redial.case_rows import new_id
from cdrhub.redial.engine import Engine
from cdrhub.redial.policy import Mode
from cdrhub.redial.settings import Settings
from cdrhub.store import Store
from cdrhub.store.store import utc_now
from support import ledger
from support.daemon import Daemon
from support.phone_systems import Systems
from support.servers import PostgresServer, free_port, running

AHEAD = 4_000  #: calls between the sender and the decision; the journal stays below what makes decisions give way
CASES = 1_000_000
NUMBERS = 2  #: of each case
ATTEMPTS = 60_000  #: that wait for their call
EVERY = 20  #: one call in so many is that of an attempt
SINGLE = 2_000  #: decisions about one call each
WARM_UP_SECONDS = 5.0
FIRST_NUMBER = 33_266_000_000
FIRST_AGENT = 100_000

SOURCE = """
[redial]
mode = "on"
match_start_seconds = 3600

[redial.diallers.nobody]
type = "webhook"
url = "http://127.0.0.1:9/dial"
secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
allow_private = true
max_live = 1

[sources.pbx]
type = "3cx"
mode = "listen"
listen = "127.0.0.1:{port}"
region = "FR"
settle_seconds = 0
dialler = "nobody"
"""

_LINE = (
    b"Call %(id)d,%(callid)s,,%(start)s,,%(end)s,Failed_Cancelled,Ext.%(agent)d,0%(number)d,%(agent)d,10001,"
    b"0%(number)d,,,,,,,,\r\n"
)


def lines(since: datetime) -> Iterator[bytes]:
    """Endless unanswered outbound calls that have just ended; one in EVERY is that of the next attempt."""
    attempt = 0
    for number in count(1):
        now = datetime.now(UTC)
        whose, agent = CASES * NUMBERS + number % 40_000, 100 + number % 200
        if number % EVERY == 0 and attempt < ATTEMPTS:
            whose, agent = attempt * NUMBERS, FIRST_AGENT + attempt
            attempt += 1
        yield _LINE % {
            b"id": number,
            b"callid": b"%016X_%d" % (int(since.timestamp() * 1000), number),
            b"start": (now - timedelta(seconds=20)).strftime("%Y/%m/%d %H:%M:%S").encode(),
            b"end": now.strftime("%Y/%m/%d %H:%M:%S").encode(),
            b"number": FIRST_NUMBER + whose - 33_000_000_000,
            b"agent": agent,
        }


def seed(url: str, *, cases: int, attempts: int, now: datetime) -> None:
    """Open cases, and attempts of the first of them that the dialler accepted a minute ago."""
    ids = [new_id() for _ in range(cases)]
    at = now.isoformat()
    asked = (now - timedelta(seconds=60)).isoformat()
    with psycopg.connect(url) as database, database.cursor() as cursor:
        columns = "id, tenant, code, source, agent, campaign, timezone, metadata, state, state_reason, round, next_key"
        with cursor.copy(f"COPY cases ({columns}, created_at, updated_at, revision) FROM STDIN") as copy:
            for place, case_id in enumerate(ids):
                agent, state = f"{FIRST_AGENT + place}", "dialling" if place < attempts else "open"
                copy.write_row((case_id, "", f"C-{place}", "pbx", agent, "", "", "{}", state, "", 1, "", at, at, 1))
        columns = "case_id, position, number, match_key, e164, label, do_not_call"
        with cursor.copy(f"COPY case_numbers ({columns}) FROM STDIN") as copy:
            for place, case_id in enumerate(ids):
                for position in range(NUMBERS):
                    number = f"+{FIRST_NUMBER + place * NUMBERS + position}"
                    copy.write_row((case_id, position + 1, number, number, number, "", False))
        columns = (
            "id, case_id, tenant, round, number, match_key, e164, source, dialler, agent, placed_by, reference, "
            "vendor_ref, state, detail, decided_at, requested_at, deadline_at, live_case, live_agent"
        )
        deadline = (now + timedelta(hours=4)).isoformat()
        with cursor.copy(f"COPY attempts ({columns}) FROM STDIN") as copy:
            for place, case_id in enumerate(ids[:attempts]):
                number, agent = f"+{FIRST_NUMBER + place * NUMBERS}", f"{FIRST_AGENT + place}"
                asked_for = (new_id(), case_id, "", 1, number, number, number, "pbx", "nobody", agent, "hub", "", "")
                copy.write_row((*asked_for, "accepted", "", asked, asked, deadline, case_id, f"pbx/{agent}"))
    in_service(url)


def in_service(url: str) -> None:
    """As in a database that is in service, tables are vacuumed and the planner knows how many rows they have (of a new
    `calls`, whose columns are wide, PostgreSQL 16 believes that it is empty), and what was made is on disk: no commit
    that is measured waits for it."""
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")
    os.sync()


def _daemon(url: str, *, seconds: float, work: Path, cases: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    asyncio.run(_prepared(url))
    seed(url, cases=cases, attempts=min(ATTEMPTS, cases), now=now)
    port = free_port()
    daemon = Daemon(work, database=url, sources=SOURCE.format(port=port))
    daemon.start()
    lags: list[float] = []
    depths: list[float] = []

    def decided() -> int:
        lags.append(daemon.metric("cdrhub_redial_lag_seconds"))
        depths.append(daemon.metric("cdrhub_journal_records"))
        return int(daemon.metric("cdrhub_settled_calls_total"))

    sent = lines(now)
    try:
        load.lines(port, sent, committed=decided, warm_up=0, seconds=WARM_UP_SECONDS, ahead=AHEAD)
        in_service(url)
        before, began = cpu_seconds(daemon.pid), time.monotonic()
        rate = load.lines(port, sent, committed=decided, warm_up=WARM_UP_SECONDS, seconds=seconds, ahead=AHEAD)
        cpu = (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began)
        of_cases = int(daemon.metric("cdrhub_redial_decisions_total"))
        memory = daemon.resident_megabytes()
    finally:
        status = daemon.stop()
    return {
        "per_second": rate.per_second,
        "calls": rate.records,
        "decisions_about_cases": of_cases,
        "lag_seconds_median": statistics.median(lags),
        "lag_seconds_max": max(lags),
        "journal_depth_max": max(depths),
        "cpu_share_of_a_core": cpu,
        "memory_mb": memory,
        "exit_status": status,
    }


async def _prepared(url: str) -> None:
    store = Store.open(url)
    await store.prepare()
    await store.close()


async def _single(url: str) -> dict[str, float]:
    """How long a decision about one call of an attempt takes: its transaction, from the first look to the commit."""
    store = Store.open(url, redecode=ledger.decode)
    engine = Engine(
        database=store.database,
        settings=Settings(mode=Mode.ON, match_start=timedelta(hours=1)),
        clock=utc_now,
        systems=Systems(dialler_name="nobody"),
    )
    while (await engine.decide()).more:
        pass
    taken: list[float] = []
    about = 0
    for place in range(ATTEMPTS - SINGLE, ATTEMPTS):
        number, now = f"+{FIRST_NUMBER + place * NUMBERS}", (utc_now() - ledger.START).total_seconds()
        body = ledger.message(
            f"single {place}",
            values={
                "state": "ended",
                "direction": "outbound",
                "disposition": "no_answer",
                "started_at": now - 20,
                "ended_at": now,
                "callee_number": number,
                "callee_e164": number,
                "external_number": number,
                "agent_extension": f"{FIRST_AGENT + place}",
            },
            final=True,
        )
        await store.write([ledger.item(body, source="pbx", received=now)])
        began = time.perf_counter()
        done = await engine.decide(at_most=1)
        taken.append(time.perf_counter() - began)
        about += done.results.get("next", 0)
    await store.close()
    steps = statistics.quantiles(taken, n=100)
    return {
        "decisions": len(taken),
        "next": about,
        "median_ms": steps[49] * 1000,
        "p99_ms": steps[98] * 1000,
        "max_ms": max(taken) * 1000,
    }


def postgresql(seconds: float) -> dict[str, Any]:
    """A daemon with a million open cases, and one without any, into the same server (fsync on), one after the other."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder, running(PostgresServer, durable=True) as server:
        work = Path(folder)
        for name in ("empty", "million"):
            server.execute(f'CREATE DATABASE "{name}"')
        empty = _daemon(server.url("empty"), seconds=seconds, work=work / "empty", cases=0)
        million = _daemon(server.url("million"), seconds=seconds, work=work / "million", cases=CASES)
        in_service(server.url("million"))
        single = asyncio.run(_single(server.url("million")))
    return {
        "cdrhub": million,
        "without cases": empty,
        "ratio": million["per_second"] / empty["per_second"],
        "one decision among a million cases": single,
    }
