"""A database that goes away: stopped, killed, cut off, deaf. Nothing is lost or doubled, and nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import make_url

from cdrhub.errors import StoreUnavailable
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.tables import calls, outbox, records
from support import ledger
from support.ledger import batches, count, ended, item, settled_rows
from support.proxy import Proxy
from support.servers import MariaDBServer, PostgresServer, ServerUnavailable, running

Server = PostgresServer | MariaDBServer

NEVER_SECONDS = 90.0  #: what takes longer hangs


@pytest.fixture(params=[PostgresServer, MariaDBServer])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own, which it may stop; commits wait for the disk."""
    try:
        with running(request.param, durable=True) as own:
            own.execute("CREATE DATABASE hub")
            yield own
    except ServerUnavailable as why:
        pytest.skip(str(why))


@pytest.fixture(params=["postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """A database on the session's server, for a test that loses only its connections."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy before that server."""
    port = make_url(url).port
    assert port is not None
    async with Proxy(("127.0.0.1", port)) as between:
        yield between


@pytest.fixture
def proxied(url: str, proxy: Proxy) -> str:
    """That database through the proxy."""
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


async def write_for_ever(store: Store, batch: list[Item]) -> int:
    """Like the pipeline: until it is written. Says how often it was not."""
    failures = 0
    while True:
        try:
            await store.write(batch)
        except StoreUnavailable:
            failures += 1
            await asyncio.sleep(0.02)
        else:
            return failures


def all_items() -> list[Item]:
    return [item(ended(f"k{n}", n)) for n in range(400)]


async def check_complete(url: str) -> None:
    """Every call once, with one record and one fact, as a store reads them that waits as long as any does."""
    store = Store.open(url, redecode=ledger.decode)
    told = await settled_rows(store)
    assert set(told["calls"]) == {("lagos", f"k{n}") for n in range(400)}
    assert {row["call"] for row in told["records"].values()} == set(told["calls"])
    assert await count(store, records) == await count(store, outbox) == await count(store, calls) == 400
    await store.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_stopped_in_the_middle_and_started_again(server: Server, how: str) -> None:
    store = Store.open(server.url("hub"), redecode=ledger.decode)
    await store.prepare()

    async def restart() -> None:
        await asyncio.sleep(0.05)
        await asyncio.to_thread(server.stop if how == "stop" else server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)

    restarting = asyncio.create_task(restart())
    failures = 0
    for batch in batches(all_items(), 4):
        failures += await write_for_ever(store, list(batch))
        await asyncio.sleep(0.005)
    await restarting
    assert failures > 0
    await check_complete(server.url("hub"))
    await store.close()


async def test_away_from_the_start(server: Server) -> None:
    server.stop()
    store = Store.open(server.url("hub"), redecode=ledger.decode)
    with pytest.raises(StoreUnavailable) as refused:
        await store.prepare()
    assert server.password not in str(refused.value)
    assert "***" in str(refused.value)
    server.start()
    await store.prepare()
    await store.write([item(ended("k"))])
    await store.close()


async def impatient(url: str) -> Store:
    """A store that waits two seconds for an answer; its tables were made without such haste."""
    patient = Store.open(url)
    await patient.prepare()
    await patient.close()
    return Store.open(url, redecode=ledger.decode, seconds=2.0)


@pytest.mark.parametrize("after", [300, 5_000, 40_000, 41_111, 60_001])
async def test_cut_in_the_middle_of_a_batch(proxied: str, proxy: Proxy, after: int) -> None:
    store = Store.open(proxied, redecode=ledger.decode)
    await store.prepare()
    for number, batch in enumerate(batches(all_items(), 80)):
        if number % 2 == 0:
            proxy.cut_after(after)
        await write_for_ever(store, list(batch))
    proxy.heal()
    await check_complete(proxied)
    await store.close()


async def test_deaf_in_the_middle_of_a_batch(proxied: str, proxy: Proxy) -> None:
    store, items = await impatient(proxied), all_items()
    await write_for_ever(store, items[:100])
    proxy.go_deaf()
    with pytest.raises(StoreUnavailable):
        await store.write(items[100:200])
    proxy.heal()
    await write_for_ever(store, items)
    await check_complete(proxied)
    await store.close()


@pytest.mark.parametrize("known", [True, False], ids=["pooled", "from the first byte"])
async def test_deaf_to_everybody(proxied: str, proxy: Proxy, *, known: bool) -> None:
    """A server that takes connections and says nothing: nobody waits longer than a statement may, nor does the end."""
    store = await impatient(proxied)
    if known:
        await write_for_ever(store, all_items()[:1])
        await store.revisions()
    proxy.go_deaf()
    async with asyncio.timeout(NEVER_SECONDS):
        with pytest.raises(StoreUnavailable):
            await store.revisions()
        with pytest.raises(StoreUnavailable, match=r"\*\*\*"):
            await store.write([item(ended("k"))])
        await store.close()
    proxy.heal()
    await write_for_ever(store, all_items())
    await check_complete(proxied)
    async with asyncio.timeout(NEVER_SECONDS):
        proxy.go_deaf()
        await store.close()


async def test_making_a_connection_takes_no_longer_than_its_own_time(proxied: str, proxy: Proxy) -> None:
    store = Store.open(proxied, seconds=10 * NEVER_SECONDS)
    proxy.go_deaf()
    async with asyncio.timeout(NEVER_SECONDS):
        with pytest.raises(StoreUnavailable):
            await store.revisions()
        await store.close()


async def test_cancelled_in_the_middle_of_a_batch(url: str) -> None:
    store = Store.open(url, redecode=ledger.decode)
    await store.prepare()
    items = all_items()
    for pause in (0.0, 0.001, 0.003, 0.01, 0.02):
        writing = asyncio.create_task(store.write(items))
        await asyncio.sleep(pause)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await write_for_ever(store, items)
    await check_complete(url)
    await store.close()
