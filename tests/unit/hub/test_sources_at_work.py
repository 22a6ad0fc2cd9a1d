"""Sources of one hub that are started and exchanged: what is pushed to is always at its path."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from cdrhub.hub.sources_at_work import SourcesAtWork
from cdrhub.journal import Journal
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.model.call import Call
from cdrhub.routes import Routes
from cdrhub.sources.base import Intake
from support.hubs import configured

PATH = "/ingest/voicenter/0123456789abcdef-secret"
PUSHED = f'[sources.vendor]\ntype = "voicenter"\npath = "{PATH}"\n'


async def no_calls(source: str, *, silent_for: timedelta) -> Sequence[Call]:
    """No source asks for its calls."""
    return ()


class Slow:
    """A source that looks at something else before it is at its path; without `seconds` it never is."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    async def session(self, intake: Intake) -> None:
        if self._seconds is not None:
            await asyncio.sleep(self._seconds)
            with intake.mount(PATH, self.handle):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - of the protocol
        return web.Response(status=204)


async def test_a_source_that_takes_its_time_is_at_its_path_before_the_one_that_it_replaces_leaves(
    tmp_path: Path,
) -> None:
    journal, routes = await Journal.open(tmp_path / "journal"), Routes()
    with closing(Listeners()) as listeners:
        at_work = SourcesAtWork(
            journal=journal, metrics=Metrics(), listeners=listeners, routes=routes, open_calls=no_calls
        )
        before, config = configured(tmp_path, PUSHED), configured(tmp_path, PUSHED + 'region = "FR"\n')
        first, second = Slow(0.05), Slow(0.05)
        await at_work.start({"vendor": first}, before)
        assert routes.find(PATH) == first.handle
        exchange = asyncio.create_task(
            at_work.exchange({"vendor": second}, before=before, config=config, stays=frozenset())
        )
        while not exchange.done():
            assert routes.find(PATH) is not None
            await asyncio.sleep(0)
        await exchange
        assert routes.find(PATH) == second.handle
        assert routes.handlers(PATH) == 1
        assert (at_work.sees("vendor"), at_work.sees("another")) == (True, False)
        await at_work.stop()
    await journal.close()


async def test_a_source_that_does_not_come_to_its_path_holds_up_no_start(tmp_path: Path) -> None:
    journal, routes = await Journal.open(tmp_path / "journal"), Routes()
    with closing(Listeners()) as listeners:
        at_work = SourcesAtWork(
            journal=journal, metrics=Metrics(), listeners=listeners, routes=routes, open_calls=no_calls
        )
        await at_work.start({"vendor": Slow(None)}, configured(tmp_path, PUSHED))
        assert at_work.names == {"vendor"}
        assert routes.find(PATH) is None
        await at_work.stop()
    await journal.close()


async def test_a_runner_that_fails_is_told_at_once_and_holds_up_no_stop(tmp_path: Path) -> None:
    journal, routes = await Journal.open(tmp_path / "journal"), Routes()
    with closing(Listeners()) as listeners:
        at_work = SourcesAtWork(
            journal=journal, metrics=Metrics(), listeners=listeners, routes=routes, open_calls=no_calls
        )
        config = configured(tmp_path, '[sources.vendor]\ntype = "3cx"\nlisten = "127.0.0.1:0"\n')
        unfit = config.sources["vendor"].model_copy(update={"quiet_after": "soon"})
        config = config.model_copy(update={"sources": {"vendor": unfit}})
        await at_work.start({"vendor": Slow(None)}, config)
        with pytest.raises(AttributeError, match="total_seconds"):
            await at_work.failed()
        await at_work.stop()
    await journal.close()
