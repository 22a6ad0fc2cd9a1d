"""A database to which no connection can be made, whatever the reason: it is away, and no record's fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from cdrhub.errors import StoreUnavailable
from cdrhub.store import Store
from support.ledger import ended, item
from support.servers import free_port

OLD_GREETING = b"\x05\x00\x00\x00\x095.0\x00"  #: of MySQL before 3.21, which asyncmy reads past its end


@pytest.fixture
async def stranger() -> AsyncIterator[int]:
    """The port of a server that greets as no MariaDB does, and hangs up."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OLD_GREETING)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def expect_away(url: str, *, why: str) -> None:
    store = Store.open(url)
    try:
        with pytest.raises(StoreUnavailable, match=why):
            await store.write([item(ended("k", 1))])
        with pytest.raises(StoreUnavailable, match=why):
            await store.revisions()
    finally:
        await store.close()


async def test_a_certificate_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    url = f"postgresql://hub@127.0.0.1:{free_port()}/hub?sslmode=verify-full"
    await expect_away(url, why="root certificate file .* does not exist")


async def test_a_greeting_that_the_driver_cannot_read(stranger: int) -> None:
    await expect_away(f"mariadb://hub:secret@127.0.0.1:{stranger}/hub", why="requires a buffer")


async def test_a_password_that_is_wrong(mariadb_url: str) -> None:
    url = make_url(mariadb_url).set(password="wrong")
    said = r": Access denied for user 'cdrhub'@'127.0.0.1' \(using password: YES\) \(1045\)$"
    await expect_away(url.render_as_string(hide_password=False), why=said)


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
async def test_nobody_listens_there(engine: str) -> None:
    address = f"127.0.0.1:{free_port()}/hub"
    said = f"^{engine}://hub@{address}: connection refused: does the server run, and listen there.$"
    await expect_away(f"{engine}://hub@{address}", why=said)


def test_a_folder_that_cannot_be_made_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"file/data cannot be made: Not a directory$"):
        Store.open(f"sqlite:///{tmp_path}/file/data/cdrhub.db")
