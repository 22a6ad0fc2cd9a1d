"""A file system that can only be read when SQLite's file is opened, and is mended later."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cdrhub.errors import StoreUnavailable
from cdrhub.store import Store
from cdrhub.store.tables import calls
from support import ledger
from support.disks import small_disk
from support.ledger import count, ended, item


def remounted(disk: Path, how: str) -> None:
    """Mount it anew, `ro` or `rw`."""
    done = subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted anew here: {done.stderr.decode().strip()}")


async def test_a_database_that_was_opened_read_only_is_written_when_it_can_be() -> None:
    """As long as one reader stayed connected, each new connection found that it could only read, for ever."""
    with small_disk(megabytes=16) as disk:
        file = disk / "cdrhub.db"
        store = Store.open(f"sqlite:///{file}", redecode=ledger.decode)
        await store.prepare()
        await store.write([item(ended("before", 1))])
        logged = {beside: beside.read_bytes() for beside in disk.iterdir()}
        await store.close()
        for beside, content in logged.items():
            beside.write_bytes(content)  # as a daemon leaves them that was killed
        remounted(disk, "ro")
        store = Store.open(f"sqlite:///{file}", redecode=ledger.decode)
        try:
            assert await count(store, calls) == 1
            with pytest.raises(StoreUnavailable, match="readonly database: this user cannot write"):
                await store.write([item(ended("meanwhile", 2))])
            assert await count(store, calls) == 1
            remounted(disk, "rw")
            await store.write([item(ended("after", 3))])
            assert await count(store, calls) == 2
        finally:
            await store.close()
