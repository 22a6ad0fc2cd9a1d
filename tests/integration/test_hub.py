"""The hub in this process: conclusions about calls that stay open, starts that fail, and reloads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from cdrhub.config import Config
from cdrhub.errors import AddressUnavailable
from cdrhub.hub.hub import Hub
from cdrhub.hub.sweeper import FORGOTTEN_AFTER
from cdrhub.model.inference import Coverage
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.calls import legs_of, one
from cdrhub.store.coverage import stretches
from cdrhub.store.tables import unopened
from support.hubs import configured, written_of
from support.intake import until
from support.servers import free_port

PATH = "/ingest/voicenter/0123456789abcdef-secret"
LEG1 = (
    b'{"caller":"0722776772","target":"SIPSIP","time":1595960400,"duration":31,"ivruniqueid":"c2c","dialtime":4,'
    b'"type":"Click2Call leg1","status":"ANSWER","targetextension":"SIPSIP","representative_name":"Agent 1"}'
)


LINE = (
    b"Call 1,00000172FF10D141_1,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    b"Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\r\n"
)
NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
OLD_TIMES = b"2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39"
OLDER_JOURNAL = Path(__file__).parents[1] / "captures" / "journal" / "nothing-filed.sql"


@contextlib.asynccontextmanager
async def stored(config: Config) -> AsyncIterator[Store]:
    store = Store.open(config.database.url.get_secret_value())
    try:
        await store.prepare()
        yield store
    finally:
        await store.close()


def left_open(config: Config, *, received_at: datetime) -> Item:
    """The first leg of a call of the source `vendor`."""
    return written_of(config, "vendor", LEG1, content_type="application/json", received_at=received_at)


async def test_a_click2call_whose_second_leg_never_comes_is_closed_as_unknown(tmp_path: Path) -> None:
    config = configured(tmp_path, f'[sources.vendor]\ntype = "voicenter"\npath = "{PATH}"\n')
    async with stored(config) as store:
        await store.write([left_open(config, received_at=datetime.now(UTC) - timedelta(minutes=2))])
        assert (await one(store, "c2c"))["state"] == "answered"

    hub = await Hub.start(config, sweep_seconds=0.05)
    try:
        async with stored(config) as store, asyncio.timeout(20):
            while (call := await one(store, "c2c"))["state"] != "ended":  # noqa: ASYNC110 - it happens in a database
                await asyncio.sleep(0.05)
            legs = await legs_of(store, call["id"])
    finally:
        await hub.stop()
    assert call["disposition"] == "unknown"
    assert "end_inferred" in call["flags"]
    assert {(leg["role"], leg["outcome"]) for leg in legs} == {("agent", "answered"), ("customer", "unknown")}


async def test_a_call_of_a_source_that_is_out_does_not_live_for_ever(tmp_path: Path) -> None:
    config = configured(tmp_path, f'[sources.vendor]\ntype = "voicenter"\npath = "{PATH}"\n')
    async with stored(config) as store:
        await store.write([left_open(config, received_at=datetime.now(UTC) - FORGOTTEN_AFTER)])
        assert (await one(store, "c2c"))["state"] == "answered"
        hub = await Hub.start(configured(tmp_path, ""), sweep_seconds=0.05)
        try:
            async with asyncio.timeout(20):
                while (call := await one(store, "c2c"))["state"] != "ended":  # noqa: ASYNC110 - in a database
                    await asyncio.sleep(0.05)
        finally:
            await hub.stop()
    assert (call["source"], call["system"], call["flags"]) == ("vendor", "voicenter", ["end_inferred"])


async def test_what_another_hub_left_waiting_under_settings_of_its_own_is_joined(tmp_path: Path) -> None:
    others = configured(tmp_path, f'[sources.vendor]\ntype = "voicenter"\npath = "{PATH}"\nregion = "IL"\n')
    hub = await Hub.start(configured(tmp_path, ""), sweep_seconds=0.05)
    try:
        async with stored(others) as store:
            await store.remember_revision(others.revision_of("vendor"))
            item = left_open(others, received_at=datetime.now(UTC))
            await store.write([item])
            its = {"record_source": "vendor", "digest": item.record.digest, "since": datetime.now(UTC)}
            async with store.database.connect(writing=True) as connection:
                await connection.execute(insert(unopened).values(source="vendor", call_key="c2c", **its))
            failed = asyncio.create_task(hub.failed())
            async with asyncio.timeout(20):
                while (await one(store, "c2c"))["revision"] == 1 and not failed.done():  # noqa: ASYNC110 - in a database
                    await asyncio.sleep(0.02)
            assert not failed.done(), failed.exception()
            failed.cancel()
    finally:
        await hub.stop()


async def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        config = configured(tmp_path, f'[sources.pbx]\ntype = "3cx"\nlisten = "127.0.0.1:{taken}"\n')
        with pytest.raises(AddressUnavailable, match=r"sources\.pbx\.listen"):
            await Hub.start(config)
    hub = await Hub.start(config)
    await hub.stop()
    assert len(asyncio.all_tasks()) == 1


async def test_what_a_source_is_to_be_warned_of_is_said_at_the_start(tmp_path: Path) -> None:
    layouts = {"a": '["time-start", "dial-no"]', "b": '["callid", "time-start"]', "c": '["historyid"]'}
    tables = "".join(
        f'[sources.{name}]\ntype = "3cx"\nmode = "file"\npath = "{name}.log"\nfields = {layout}\n'
        for name, layout in layouts.items()
    )
    with capture_logs() as lines:
        hub = await Hub.start(configured(tmp_path, tables))
        await hub.stop()
    said = [(line["source"], line["event"]) for line in lines if line.get("action") == "caution"]
    assert said == [
        ("a", "`fields` has neither historyid nor callid: two equal calls cannot be told apart, and records that are "
         "lost are not noticed"),
        ("b", "`fields` has no historyid: records that are lost are not noticed"),
    ]  # fmt: skip


async def test_a_phone_system_that_is_away_does_not_hold_the_start(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        f'[sources.switch]\ntype = "freeswitch"\nport = {free_port()}\npassword = "ClueCon"\n',
    )
    hub = await Hub.start(config)
    try:
        assert hub.status().startswith("1 sources")
    finally:
        await hub.stop()


@pytest.mark.parametrize(
    "end", [Hub.stop, lambda hub: hub.reload(configured(hub.config.hub.data_dir.parent, ""))], ids=["stop", "reload"]
)
async def test_who_comes_back_as_soon_as_he_is_told_of_the_end_is_refused(
    tmp_path: Path, end: Callable[[Hub], Coroutine[Any, Any, None]]
) -> None:
    """He was let in while the sources drained, and nobody read what he sent."""
    port = free_port()
    config = configured(tmp_path, f'[sources.pbx]\ntype = "3cx"\nlisten = "127.0.0.1:{port}"\n')
    hub = await Hub.start(config)
    reader, pbx = await asyncio.open_connection("127.0.0.1", port)
    ending = asyncio.create_task(end(hub))
    assert await reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    pbx.close()
    await ending
    await hub.stop()


def listening(name: str, port: int, extra: str) -> str:
    return f'[sources.{name}]\ntype = "3cx"\nlisten = "127.0.0.1:{port}"\n{extra}\n'


async def filed(config: Config) -> list[tuple[str, str]]:
    """The source and the tenant of each call after a hub with this configuration wrote what waits in its journal."""
    hub = await Hub.start(config)
    try:
        await until(lambda: hub.status().endswith(" 0 records in the journal"), "the journal is empty")
    finally:
        await hub.stop()
    with contextlib.closing(sqlite3.connect(config.hub.data_dir.parent / "hub.db")) as database:
        return database.execute("SELECT source, tenant FROM calls").fetchall()


@pytest.mark.parametrize(
    ("tenant_of_main", "filed_under"),
    [(None, ("main", "acme")), ("beta", ("main", "beta"))],
    ids=["both are out", "main stays and has another tenant"],
)
async def test_what_waits_of_a_source_that_is_out_at_the_next_start_is_filed_as_before(
    tmp_path: Path, tenant_of_main: str | None, filed_under: tuple[str, str]
) -> None:
    port, other = free_port(), free_port()
    sources = listening("main", other, 'tenant = "acme"') + listening("second", port, 'into = "main"')
    away = f"postgresql://hub@127.0.0.1:{free_port()}/hub"
    hub = await Hub.start(configured(tmp_path, sources, database=away))
    _, pbx = await asyncio.open_connection("127.0.0.1", port)
    pbx.write(LINE)
    kept = b'cdrhub_records_acknowledged_total{source="second"} 1.0'
    await until(lambda: kept in hub.metrics.text(), "the line waits in the journal")
    pbx.close()
    await hub.stop()

    stays = listening("main", other, f'tenant = "{tenant_of_main}"') if tenant_of_main else ""
    assert await filed(configured(tmp_path, stays)) == [filed_under]


@pytest.mark.parametrize(
    ("sources", "filed_under"),
    [
        ("", ("second", "")),
        (
            listening("main", 0, 'tenant = "acme"') + listening("second", 0, 'into = "main"'),
            ("main", "acme"),
        ),
    ],
    ids=["its source is out", "its source is there"],
)
async def test_a_journal_that_does_not_know_what_its_records_are_filed_under(
    tmp_path: Path, sources: str, filed_under: tuple[str, str]
) -> None:
    config = configured(tmp_path, sources)
    config.hub.data_dir.mkdir()
    with contextlib.closing(sqlite3.connect(config.hub.data_dir / "journal.db")) as journal:
        journal.executescript(OLDER_JOURNAL.read_text())
    assert await filed(config) == [filed_under]


async def test_a_pushed_source_that_a_reload_exchanges_is_seen_all_the_time(tmp_path: Path) -> None:
    pushed = f'[sources.vendor]\ntype = "voicenter"\npath = "{PATH}"\n'
    hub = await Hub.start(configured(tmp_path, pushed))
    try:
        config = configured(tmp_path, pushed + "settle_seconds = 5.0\n")
        await hub.reload(config)
        await until(lambda: hub.status().endswith(" 0 records in the journal"), "the journal is empty")
        async with stored(config) as store:
            seen = [(stretch.state, stretch.until) for stretch in await stretches(store)]
        assert seen == [("idle", None)]
    finally:
        await hub.stop()
    async with stored(config) as store:
        assert [stretch.state for stretch in await stretches(store)] == ["idle", "blind"]


async def test_a_zone_that_a_reload_mends_is_no_longer_suspect_and_a_source_that_it_takes_out_is_not_measured(
    tmp_path: Path,
) -> None:
    port = free_port()
    ended = datetime.now(UTC) - timedelta(hours=1)
    times = ",".join(f"{ended - timedelta(seconds=s):%Y/%m/%d %H:%M:%S}" for s in (20, 15, 0))
    hub = await Hub.start(configured(tmp_path, listening("pbx", port, "")))
    try:
        _, pbx = await asyncio.open_connection("127.0.0.1", port)
        for number in range(20):
            pbx.write(LINE.replace(b"_1", b"_%d" % number).replace(OLD_TIMES, times.encode()))
        await until(lambda: any("its clock is 1 h behind" in said for said in hub.problems), "its clock is suspect")
        pbx.close()
        mended = configured(tmp_path, listening("pbx", port, 'timezone = "Etc/GMT+1"'))
        await hub.reload(mended)
        await until(lambda: not hub.problems, "its clock is right")
        assert b'cdrhub_source_seconds_since_last_record{source="pbx"} NaN' not in hub.metrics.text()
        assert b'cdrhub_source_seconds_since_last_record{source="pbx"}' in hub.metrics.text()
        await hub.reload(configured(tmp_path, ""))
        for gauge in (b"seconds_since_last_record", b"links", b"last_record_timestamp_seconds"):
            assert b'cdrhub_source_%s{source="pbx"}' % gauge not in hub.metrics.text()
    finally:
        await hub.stop()
    async with stored(mended) as store:
        *_, last = await stretches(store)
    assert (last.state, last.detail) == ("blind", "started"), "what was exchanged began anew"


async def test_a_source_that_a_reload_takes_out_while_a_loss_is_concluded_is_told_of_still(tmp_path: Path) -> None:
    tables = "".join(
        f"""
[sources.{name}]
type = "voicenter"
path = "{PATH}-{name}"
"""
        for name in ("jaffa", "lod")
    )
    hub = await Hub.start(configured(tmp_path, tables))
    lost = Coverage(state="blind", since=NOON, until=NOON + timedelta(hours=1), detail="the database lacks it")
    try:
        concluding = asyncio.create_task(hub._conclude(lost))
        await asyncio.sleep(0)  # it waits for the journal
        await hub.reload(configured(tmp_path, ""))
        await concluding
    finally:
        await hub.stop()
    async with stored(hub.config) as store:
        told = [stretch.source for stretch in await stretches(store) if stretch.detail == lost.detail]
    assert told == ["jaffa", "lod"]
