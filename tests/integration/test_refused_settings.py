"""Decode settings that a database does not take: the records that came under them are stored all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cdrhub.config import parse
from cdrhub.hub.hub import Hub
from cdrhub.store import Store, schema
from support.intake import until
from support.servers import PostgresServer, free_port

LINE = (
    b"Call 1,00000172FF10D141_1,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    b"Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\r\n"
)


async def test_a_name_that_the_database_cannot_spell_ends_no_daemon(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    (tmp_path / "staff.csv").write_text("number,kind,name\n199,person,דנה\n", encoding="utf-8")
    port = free_port()
    config = parse(
        f"""
[hub]
data_dir = "{tmp_path / "data"}"
[database]
url = "{postgres_server.url("latin")}"
[http]
listen = "127.0.0.1:{free_port()}"
[sources.haifa]
type = "3cx"
listen = "127.0.0.1:{port}"
directory = "staff.csv"
""",
        path=tmp_path / "config.toml",
        environ={},
    )
    before = Store.open(config.database.url.get_secret_value(), connections=1)
    async with before.database.connect(writing=True) as connection:  # an empty one of that encoding is refused by now
        await connection.run_sync(schema._upgrade)
    await before.close()
    hub = await Hub.start(config)
    try:
        _, pbx = await asyncio.open_connection("127.0.0.1", port)
        pbx.write(LINE)
        pbx.close()
        kept = b'cdrhub_records_stored_total{result="applied",source="haifa"} 1.0'
        await until(lambda: kept in hub.metrics.text(), "the call is stored")
    finally:
        await hub.stop()
    store = Store.open(config.database.url.get_secret_value(), connections=1)
    try:
        assert await store.revisions() == []
    finally:
        await store.close()
