"""A database with the schema on each engine."""

from __future__ import annotations

import asyncio

import pytest

from cdrhub.store import Store
from support.servers import ENGINES

_PREPARED: dict[str, str] = {}
"""Engine → URL. pytest makes a fixture with parameters anew whenever the parameter changes."""


@pytest.fixture(scope="session", params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with the schema, one for each engine; what is in it is of whoever used it before."""
    engine: str = request.param
    if engine not in _PREPARED:
        if engine == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('store')}/cdrhub.db"
        else:
            server = request.getfixturevalue("postgres_server" if engine == "postgresql" else "mariadb_server")
            server.execute("CREATE DATABASE store")
            url = server.url("store")
        asyncio.run(_prepare(url))
        _PREPARED[engine] = url
    return _PREPARED[engine]


async def _prepare(url: str) -> None:
    store = Store.open(url)
    await store.prepare()
    await store.close()
