"""Fixtures for all tests: a fresh database on each real engine."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from cdrhub.cli import GC_THRESHOLDS
from support.servers import ENGINES, MariaDBServer, PostgresServer, ServerUnavailable, running
from support.warm import warmed

pytest_plugins = ["support.by_engine"]

_numbers = itertools.count(1)

gc.set_threshold(*GC_THRESHOLDS)  # the program's; thousands of tests leave more objects than it ever has

# How long an example took says something of the machine only. The same examples each time: a failure is of the change
# that it is seen with; `make soak` looks at others.
settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("other", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")

# What a test shows of a line that tells an error: the pages that rich makes of a traceback take a second each.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S"),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(scope="session", autouse=True)
def _warmed() -> Iterator[None]:
    """Processes of the program are forked from one that has imported it."""
    with warmed():
        yield


@pytest.fixture(autouse=True)
async def _nothing_goes_on() -> AsyncIterator[None]:
    """The tests of a process share a loop: what one of them left running there ends with it."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL, shared by the session."""
    with running(PostgresServer) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """A running MariaDB, shared by the session; skips where the machine has none."""
    try:
        with running(MariaDBServer) as server:
            yield server
    except ServerUnavailable as why:
        pytest.skip(str(why))


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = f"test_{next(_numbers)}"
    postgres_server.execute(f'CREATE DATABASE "{name}"')
    yield postgres_server.url(name)
    postgres_server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def mariadb_url(mariadb_server: MariaDBServer) -> Iterator[str]:
    """The URL of an empty MariaDB database."""
    name = f"test_{next(_numbers)}"
    mariadb_server.execute(f"CREATE DATABASE {name}")
    yield mariadb_server.url(name)
    mariadb_server.execute(f"DROP DATABASE {name}")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'cdrhub.db'}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, once for each engine."""
    prefix = {"postgresql": "postgres"}.get(request.param, request.param)
    url: str = request.getfixturevalue(f"{prefix}_url")
    return url
