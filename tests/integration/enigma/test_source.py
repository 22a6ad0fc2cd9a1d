"""The source on a real Redis: several hubs on one list, links that break anywhere, a full journal, the wrong Redis."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from cdrhub.errors import BackOff, NotConnected, SourceSignal
from cdrhub.sources.enigma import worker
from cdrhub.sources.enigma.config import EnigmaConfig
from cdrhub.sources.enigma.source import EnigmaSource
from cdrhub.sources.enigma.unread import lists_beside
from cdrhub.sources.runner import Runner
from support.daemon import Daemon
from support.enigma import cdr
from support.intake import RecordingIntake, until
from support.proxy import Proxy
from support.redis import RedisServer, running, without
from support.servers import free_port

KEY = "enigma:notifications:campaigns"
PROCESSING = f"{KEY}:cdrhub:processing"
LEASE = f"{KEY}:cdrhub:lease"
QUEUE_CALLS = orjson.dumps({"type": "queue_calls", "payload": {"rate": 6, "ref": "campaign001"}})


def configured(url: str, **keys: Any) -> EnigmaConfig:
    return EnigmaConfig(redis=SecretStr(url), **{"lease_seconds": 3} | keys)


@asynccontextmanager
async def at_work(config: EnigmaConfig, intake: RecordingIntake) -> AsyncGenerator[Runner]:
    """The source under the real runner."""
    runner = Runner(source=EnigmaSource(config), config=config, intake=intake, stop_seconds=1.0)
    work = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        await runner.stop()
        await work


async def session(source: EnigmaSource, intake: RecordingIntake) -> SourceSignal:
    """How one session ends."""
    with pytest.raises(SourceSignal) as ended:
        async with asyncio.timeout(20):
            await source.session(intake)
    return ended.value


def cdrs(*numbers: int) -> list[bytes]:
    return [cdr(call_ref=number) for number in numbers]


@pytest.fixture
def intakes() -> Iterator[list[RecordingIntake]]:
    made = [RecordingIntake("one"), RecordingIntake("two")]
    yield made
    for intake in made:
        intake.close()


# -- several hubs


async def test_one_hub_reads_and_the_other_stands_by_until_it_stops(
    redis_server: RedisServer, dialler: redis.Redis, intakes: list[RecordingIntake]
) -> None:
    config = configured(redis_server.url)
    first, second = intakes
    async with at_work(config, second) as standing:
        async with at_work(config, first):
            await until(lambda: first.links or second.links)
            reads, stands = (first, second) if first.links else (second, first)
            await until(lambda: stands.counts["stood_by"] == 1)
            assert not stands.links
            dialler.lpush(KEY, *cdrs(1, 2))
            await until(lambda: len(reads.bodies) == 2)
            assert stands.bodies == []
            said = [said for said in stands.inferences if str(said.get("detail", "")).startswith("stands by: ")]
            assert [(one["state"], one["until"]) for one in said] == [("blind", None)]
            assert KEY in said[0]["detail"]
            assert stands.stood_by_with == [said[0]["detail"]]
            assert standing.problem is None
        if reads is first:
            await until(lambda: second.links)
        dialler.lpush(KEY, *cdrs(3))
        await until(lambda: cdrs(3)[0] in second.bodies)
    assert dialler.keys() == []


async def test_a_list_is_seen_when_what_had_waited_in_it_is_read(
    redis_server: RedisServer, dialler: redis.Redis, intakes: list[RecordingIntake]
) -> None:
    intake = intakes[0]
    dialler.lpush(KEY, *cdrs(*range(501)))
    intake.full = True
    async with at_work(configured(redis_server.url), intake) as runner:
        await until(lambda: intake.offered == 500)
        assert not runner.sees
        intake.full = False
        await until(lambda: runner.sees)
        assert len(intake.bodies) == 501


async def test_a_hub_that_reads_one_of_two_lists_is_not_blind(
    redis_server: RedisServer, dialler: redis.Redis, intakes: list[RecordingIntake]
) -> None:
    other = "enigma:notifications:cdr"
    dialler.set(f"{other}:cdrhub:lease", "another#1 session", ex=60)
    intake = intakes[0]
    async with at_work(configured(redis_server.url, keys=(KEY, other)), intake):
        await until(lambda: intake.links and intake.counts["stood_by"])
        dialler.delete(f"{other}:cdrhub:lease")
        await until(lambda: len(intake.links) == 2)
        connected = next(said["since"] for said in intake.inferences if said["state"] == "connected")
        blind = [said for said in intake.inferences if said["state"] == "blind"]
        assert max(said["until"] or said["since"] for said in blind) <= connected


async def test_a_hub_that_hangs_is_replaced_and_does_no_harm_when_it_comes_back(
    redis_server: RedisServer, dialler: redis.Redis, intakes: list[RecordingIntake]
) -> None:
    config = configured(redis_server.url)
    hanging, other = intakes
    async with (
        Proxy(("127.0.0.1", redis_server.port)) as proxy,
        at_work(configured(redis_server.at(proxy.port)), hanging),
    ):
        await until(lambda: hanging.links)
        async with at_work(config, other):
            await until(lambda: other.counts["stood_by"])
            proxy.go_deaf()
            await until(lambda: other.links, "it did not take over")
            dialler.lpush(KEY, *cdrs(1))
            await until(lambda: len(other.bodies) == 1)
            proxy.heal()
            await until(lambda: hanging.counts["stood_by"])
            dialler.lpush(KEY, *cdrs(2))
            await until(lambda: len(other.bodies) == 2)
            assert not hanging.links
            assert hanging.bodies == []


async def test_what_a_dead_hub_had_in_its_hands_is_taken_by_the_next(
    redis_server: RedisServer, dialler: redis.Redis, intakes: list[RecordingIntake]
) -> None:
    config = configured(redis_server.url)
    stuck, other = intakes
    stuck.full = True
    dialler.lpush(KEY, *cdrs(1, 2, 3))
    async with (
        Proxy(("127.0.0.1", redis_server.port)) as proxy,
        at_work(configured(redis_server.at(proxy.port)), stuck),
    ):
        await until(lambda: stuck.offered == 3)
        proxy.go_deaf()
        async with at_work(config, other):
            await until(lambda: len(other.bodies) == 3)
            assert other.counts["recovered"] == 3
            assert {accepted.attributes["live"] for accepted in other.accepted} == {False}
        await proxy.stop()
    assert dialler.keys() == []


async def test_a_daemon_that_comes_back_does_not_wait_for_its_own_lease(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    config, intake = configured(redis_server.url, lease_seconds=300), RecordingIntake()
    dialler.lpush(KEY, *cdrs(1))
    async with at_work(config, intake):
        await until(lambda: intake.bodies)
    holder = intake.positions[worker.HOLDER_KEY]
    dialler.set(LEASE, f"{holder} killed", ex=300)
    dialler.rpush(PROCESSING, *cdrs(2))
    async with at_work(config, intake):
        await until(lambda: len(intake.bodies) == 2)
    assert intake.counts["stood_by"] == 0


async def test_nor_does_one_that_was_killed_before_any_cdr_came(
    redis_server: RedisServer, dialler: redis.Redis, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    source = f'[sources.dialler]\ntype = "enigma"\nredis = "{redis_server.url}"\nlease_seconds = 300\n'
    daemon = Daemon(tmp_path, database=url, sources=source)
    try:
        for _ in range(2):
            await asyncio.to_thread(daemon.start)
            await asyncio.to_thread(daemon.wait_for, "cdrhub_source_links", 1, source="dialler")
            assert daemon.metric("cdrhub_source_events_total", source="dialler", what="stood_by") == 0
            assert dialler.exists(LEASE)
            daemon.kill()
    finally:
        daemon.kill()


async def test_each_list_has_its_own_worker(redis_server: RedisServer, dialler: redis.Redis) -> None:
    intake = RecordingIntake()
    keys = (KEY, "enigma:notifications:cdr")
    dialler.set(LEASE, "another-hub 1", ex=300)
    async with at_work(configured(redis_server.url, keys=keys), intake):
        dialler.lpush(keys[1], *cdrs(1))
        dialler.lpush(KEY, *cdrs(2))
        await until(lambda: intake.bodies and intake.links and intake.counts["stood_by"])
        assert list(intake.links) == [keys[1]]
        assert intake.accepted[0].attributes == {"list": keys[1]}
        dialler.delete(LEASE)
        await until(lambda: len(intake.bodies) == 2)
    assert dialler.keys() == []


# -- links that break


@pytest.mark.parametrize("side", ["right", "left"])
async def test_a_link_that_is_cut_after_any_number_of_bytes_loses_nothing(
    redis_server: RedisServer, dialler: redis.Redis, side: str
) -> None:
    intake, chance = RecordingIntake(), random.Random(3)
    said: list[bytes] = []
    async with Proxy(("127.0.0.1", redis_server.port)) as proxy:
        source = EnigmaSource(configured(redis_server.at(proxy.port), side=side))
        for cut in range(40):
            said += (more := cdrs(*range(cut * 100, cut * 100 + 30)))
            ending = asyncio.create_task(session(source, intake))
            await until(lambda: intake.links or ending.done())  # noqa: B023 - it is of this round
            if ending.done():  # the link before was given up for a slow answer, and the cut meant for it met this one
                assert isinstance(await ending, NotConnected)
                ending = asyncio.create_task(session(source, intake))
                await until(lambda: intake.links)
            proxy.cut_after(chance.choice((1, 100, 300, 500, 1_000, 5_000, 7_500, 8_000)))
            dialler.lpush(KEY, *more)
            assert isinstance(await ending, NotConnected)
            assert intake.links == {}
    async with at_work(configured(redis_server.url), intake):
        await until(lambda: set(intake.bodies) >= set(said))
        await until(lambda: dialler.keys() == [LEASE.encode()])  # nothing waits, and nothing is in hand
    assert set(intake.bodies) == set(said)


async def test_a_redis_that_restarts_is_found_again() -> None:
    intake = RecordingIntake()
    with running(options=("--appendonly", "yes", "--appendfsync", "always")) as server:
        async with at_work(configured(server.url), intake):
            await until(lambda: intake.links)
            server.kill()
            await until(lambda: not intake.links)
            server.start()
            with server.client() as client:
                client.lpush(KEY, *cdrs(1))
            await until(lambda: intake.bodies == cdrs(1))


async def test_a_refused_password_is_said_and_shown_to_nobody() -> None:
    intake = RecordingIntake()
    with running(password="right") as server, capture_logs() as logs:
        config = configured(f"redis://:hunter2@127.0.0.1:{server.port}/0")
        async with at_work(config, intake) as runner:
            await until(lambda: runner.problem)
            assert "Redis refuses us" in (runner.problem or "")
            assert intake.counts["session_back_off"] == 1
        with pytest.raises(BackOff):
            await EnigmaSource(config).probe()
    assert "hunter2" not in str(logs)


# -- back-pressure and stopping


async def test_a_full_journal_stops_the_taking_and_keeps_the_lease(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    intake = RecordingIntake()
    intake.full = True
    async with at_work(configured(redis_server.url), intake):
        dialler.lpush(KEY, *cdrs(1))
        await until(lambda: intake.offered == 1)
        dialler.lpush(KEY, *cdrs(2))
        token = dialler.get(LEASE)
        await asyncio.sleep(3.5)  # longer than the lease lives
        assert dialler.get(LEASE) == token
        assert (dialler.llen(KEY), intake.offered) == (1, 1)
        intake.full = False
        await until(lambda: intake.bodies == cdrs(1, 2))


async def test_a_batch_that_cannot_be_finished_at_the_stop_stays_in_redis(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    intake = RecordingIntake()
    intake.full = True
    dialler.lpush(KEY, *cdrs(1, 2))
    async with at_work(configured(redis_server.url), intake):
        await until(lambda: intake.offered == 2)
    assert intake.counts["session_aborted"] == 1
    assert sorted(dialler.lrange(PROCESSING, 0, -1)) == sorted(cdrs(1, 2))
    assert not dialler.exists(LEASE)
    intake.full = False
    async with at_work(configured(redis_server.url), intake):
        await until(lambda: len(intake.bodies) == 2)


async def test_what_a_taking_gave_whose_answer_was_not_waited_for_stays_in_redis() -> None:
    """It may have forgotten the durable ones already: then those behind them are not durable."""
    intake = RecordingIntake()
    intake.full = True
    with running() as server, server.client() as dialler:
        dialler.lpush(KEY, *cdrs(1, 2))
        async with (
            Proxy(("127.0.0.1", server.port)) as proxy,
            at_work(configured(server.at(proxy.port), lease_seconds=60), intake) as runner,
        ):
            await until(lambda: intake.offered == 2)
            dialler.lpush(KEY, *cdrs(3, 4))
            server.pause()
            passed = proxy.passed
            intake.full = False
            await until(lambda: proxy.passed > passed, "it asks for more")
            stopping = asyncio.create_task(runner.stop())
            await until(lambda: intake.counts["session_aborted"])
            server.resume()
            await stopping
        assert intake.bodies == cdrs(1, 2)
        assert dialler.lrange(PROCESSING, 0, -1) == cdrs(3, 4)
        async with at_work(configured(server.url), intake):
            await until(lambda: intake.bodies == cdrs(1, 2, 3, 4))


async def test_a_batch_taken_plainly_that_cannot_be_finished_is_counted(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    intake = RecordingIntake()
    intake.full = True
    dialler.lpush(KEY, *cdrs(1, 2))
    async with at_work(configured(redis_server.url, reliable="never", lease_seconds=30), intake):
        await until(lambda: intake.offered == 2)
    assert intake.counts["not_kept"] == 2
    assert "2 popped CDRs could not be kept" in intake.inferences[-1]["detail"]
    assert dialler.keys() == []


@pytest.mark.parametrize("is_cut", [False, pytest.param(True, id="cut")])
@pytest.mark.parametrize("others", [0, 1])
async def test_a_batch_taken_plainly_whose_answer_does_not_come_is_kept(
    redis_server: RedisServer, dialler: redis.Redis, is_cut: bool, others: int
) -> None:
    intake = RecordingIntake()
    async with Proxy(("127.0.0.1", redis_server.port)) as proxy:
        config = configured(redis_server.at(proxy.port), reliable="never")
        ending = asyncio.create_task(session(EnigmaSource(config), intake))
        await until(lambda: intake.links)
        proxy.go_deaf_at(b"QUEUED")  # what Redis says of each command before it carries them out
        dialler.rpush(KEY, *cdrs(2), *[QUEUE_CALLS] * others, *cdrs(1))
        await until(lambda: proxy.deaf)
        if is_cut:
            proxy.cut()
        assert isinstance(await ending, NotConnected)
    assert intake.bodies == cdrs(1, 2)
    assert dialler.lrange(KEY, 0, -1) == [QUEUE_CALLS] * others


async def test_a_redis_that_refuses_to_pop_has_popped_nothing() -> None:
    intake = RecordingIntake()
    with running(options=without("EVAL", "EVALSHA", "SCRIPT", "BLMOVE")) as old, old.client() as client:
        ending = asyncio.create_task(session(EnigmaSource(configured(old.url)), intake))
        await until(lambda: intake.links)
        client.replicaof("127.0.0.1", free_port())  # it fails over, and takes no writes any more
        assert isinstance(await ending, NotConnected)
    assert not intake.inferences


async def test_a_batch_taken_plainly_survives_a_link_that_breaks(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    intake = RecordingIntake()
    intake.full = True
    async with Proxy(("127.0.0.1", redis_server.port)) as proxy:
        dialler.lpush(KEY, *cdrs(1, 2))
        ending = asyncio.create_task(
            session(EnigmaSource(configured(redis_server.at(proxy.port), reliable="never")), intake)
        )
        await until(lambda: intake.offered == 2)
        proxy.cut()
        await proxy.stop()
        await asyncio.sleep(1.5)  # it has tried to renew the lease
        intake.full = False
        assert isinstance(await ending, NotConnected)
    assert intake.bodies == cdrs(1, 2)


# -- how it is taken


async def test_an_old_redis_is_read_plainly_and_said_so() -> None:
    intake = RecordingIntake()
    with running(options=without("EVAL", "EVALSHA", "SCRIPT", "BLMOVE")) as old, capture_logs() as logs:
        async with at_work(configured(old.url), intake):
            with old.client() as client:
                client.lpush(KEY, *cdrs(*range(250)))
            await until(lambda: len(intake.bodies) == 250 and intake.links)
            assert intake.links[KEY].endswith("plainly")
        assert [line["log_level"] for line in logs if line["action"] == "taken_plainly"] == ["warning"]
        assert "popped plainly" in await EnigmaSource(configured(old.url)).probe()
        refused = await session(EnigmaSource(configured(old.url, reliable="always")), intake)
        assert isinstance(refused, BackOff)
        assert "reliable = 'always'" in str(refused)
        with pytest.raises(BackOff, match="reliable = 'always'"):
            await EnigmaSource(configured(old.url, reliable="always")).probe()
    assert Counter(intake.bodies) == Counter(cdrs(*range(250)))


def rights(*, plainly: bool) -> list[str]:
    """What the page says that a user needs."""
    said = (Path(__file__).parents[3] / "docs" / "sources" / "enigma.md").read_text("utf-8")
    rows = re.findall(r"^\| (reading|taking, `reliable`|taking plainly) \| (.+) \|$", said, re.MULTILINE)
    needs = {what: [f"+{word.lower()}" for word in re.findall(r"`([A-Z]+)`", some)] for what, some in rows}
    assert {what: len(words) for what, words in needs.items()} == {
        "reading": 10,
        "taking, `reliable`": 2,
        "taking plainly": 6,
    }
    return needs["reading"] + needs["taking plainly" if plainly else "taking, `reliable`"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("reliable", ["always", "never"])
async def test_a_user_with_no_more_rights_than_the_page_says(
    redis_server: RedisServer, dialler: redis.Redis, reliable: str, side: str
) -> None:
    beside = "enigma:notifications:cdr"
    dialler.lpush(beside, *cdrs(3))
    may = rights(plainly=reliable == "never")
    dialler.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=["enigma:*"], commands=may, reset=True)
    intake = RecordingIntake()
    config = configured(f"redis://reader:secret@127.0.0.1:{redis_server.port}/0", reliable=reliable, side=side)
    said = await EnigmaSource(config).probe()
    assert said.startswith(f"{KEY}: 0 waiting")
    assert f"{beside}: 1 waiting, which no hub reads" in said
    async with at_work(config, intake):
        await until(lambda: intake.links)
        dialler.rpush(KEY, QUEUE_CALLS, *cdrs(1, 2))
        await until(lambda: len(intake.bodies) == 2)
    dialler.acl_deluser("reader")
    assert sorted(dialler.keys()) == [KEY.encode(), beside.encode()]
    assert dialler.lrange(KEY, 0, -1) == [QUEUE_CALLS]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("reliable", ["always", "never"])
async def test_a_right_that_is_missing_is_named_before_anything_is_taken(
    redis_server: RedisServer, dialler: redis.Redis, reliable: str, side: str
) -> None:
    of_the_other_side = {"+lpush", "+lpop"} if side == "right" else {"+rpush", "+rpop"}
    may = rights(plainly=reliable == "never")
    config = configured(f"redis://reader:secret@127.0.0.1:{redis_server.port}/0", reliable=reliable, side=side)
    for missing in sorted(set(may) - of_the_other_side - {"+blmove"}):
        left = [one for one in may if one != missing]
        dialler.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=[f"{KEY}*"], commands=left, reset=True)
        with pytest.raises(BackOff, match=f"'{missing[1:]}|EXEC without MULTI|runs no scripts"):
            await EnigmaSource(config).probe()
        assert dialler.ttl(f"{KEY}:cdrhub:trial") != -1  # without DEL or LTRIM it is there for a second
        assert not dialler.exists(KEY, PROCESSING, LEASE)
    dialler.acl_deluser("reader")


@pytest.mark.parametrize("reliable", ["always", "never"])
async def test_the_diallers_own_orders_are_left_to_it_and_said_aloud(
    redis_server: RedisServer, dialler: redis.Redis, reliable: str
) -> None:
    intake = RecordingIntake()
    dialler.rpush(KEY, QUEUE_CALLS, *cdrs(1), QUEUE_CALLS, *cdrs(2))
    with capture_logs() as logs:
        async with at_work(configured(redis_server.url, reliable=reliable), intake) as runner:
            await until(lambda: runner.problem)
            assert "queue_calls" in (runner.problem or "")
            assert sorted(intake.bodies) == sorted(cdrs(1, 2))
            assert dialler.lrange(KEY, 0, -1) == [QUEUE_CALLS, QUEUE_CALLS]
            assert not dialler.exists(LEASE)
    assert intake.counts["foreign_left"] == 4
    assert [line["log_level"] for line in logs if line["action"] == "wrong_redis"] == ["error"]


async def test_a_probe_takes_nothing(redis_server: RedisServer, dialler: redis.Redis) -> None:
    dialler.lpush(KEY, *cdrs(1, 2))
    dialler.rpush(PROCESSING, *cdrs(3))
    source = EnigmaSource(configured(redis_server.url))
    assert await source.probe() == f"{KEY}: 2 waiting, 1 in processing, read by nobody"
    dialler.set(LEASE, "hub-b#12 34", ex=300)
    assert (await source.probe()).endswith("read by hub-b#12")
    assert (dialler.llen(KEY), dialler.llen(PROCESSING)) == (2, 1)


async def test_a_list_of_cdrs_that_nobody_reads_is_named(redis_server: RedisServer, dialler: redis.Redis) -> None:
    intake, other = RecordingIntake(), "enigma:notifications:cdr"
    dialler.lpush(other, *cdrs(1, 2))
    dialler.set("enigma:notifications:c2d", "no list")
    config = configured(redis_server.url)
    said = f"{other}: 2 waiting, which no hub reads: see `keys`"
    assert await EnigmaSource(config).probe() == f"{KEY}: 0 waiting, read by nobody; {said}"
    with capture_logs() as logs:
        async with at_work(config, intake):
            await until(lambda: intake.counts["list_not_read"] == 1)
    assert [(line["list"], line["waiting"]) for line in logs if line["action"] == "list_not_read"] == [(other, 2)]
    dialler.set(f"{other}:cdrhub:lease", "another#1 session", ex=60)
    assert await EnigmaSource(config).probe() == f"{KEY}: 0 waiting, read by nobody"


@pytest.mark.parametrize(
    ("keys", "beside"),
    [
        (("enigma:notifications:campaigns",), ["enigma:notifications:cdr", "enigma:notifications:c2d"]),
        (("site:c2d", "site:cdr", "mine"), ["site:campaigns"]),
        (("mine",), []),
    ],
)
def test_the_lists_beside_are_known_by_their_names(keys: tuple[str, ...], beside: list[str]) -> None:
    assert lists_beside(keys) == beside


async def test_a_user_who_may_see_one_list_reads_it(redis_server: RedisServer, dialler: redis.Redis) -> None:
    intake = RecordingIntake()
    dialler.lpush(KEY, *cdrs(1))
    dialler.acl_setuser("cdrhub", enabled=True, passwords="+secret", keys=[f"{KEY}*"], categories=["+@all"])
    url = redis_server.url.replace("redis://", "redis://cdrhub:secret@")
    async with at_work(configured(url), intake) as runner:
        await until(lambda: intake.bodies == cdrs(1))
        await asyncio.sleep(0.05)
        assert runner.problem is None
    assert intake.counts["list_not_read"] == 0
    dialler.acl_deluser("cdrhub")
