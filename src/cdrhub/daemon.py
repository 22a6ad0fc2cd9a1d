"""`cdrhub run`: a hub, its HTTP server and its signals, as one process of a service manager.

SIGTERM and SIGINT drain and exit 0; SIGHUP reloads all or nothing; systemd hears READY, RELOADING, STATUS and the
watchdog's beat. Whatever a part of the hub dies of ends the process with an error, for a service manager restarts
it and the journal goes on where it was.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from cdrhub.config import Config, HttpConfig
from cdrhub.errors import CdrhubError, ReloadFailed
from cdrhub.hub.hub import Hub
from cdrhub.listeners import bind
from cdrhub.notify import SystemdNotifier
from cdrhub.web.api.routes import add_api
from cdrhub.web.app import MAX_HEADER_BYTES, MAX_LINE_BYTES, make_app
from cdrhub.web.auth import Guard, Token
from cdrhub.web.connections import taking
from cdrhub.web.live import LiveFeed
from cdrhub.web.tls import server_context

log = structlog.get_logger(__name__)

HTTP_SHUTDOWN_SECONDS = 2.0  #: for requests under way; a Voicenter push is answered within one second
KEEPALIVE_SECONDS = 75.0
WAITING_THREADS = 256
"""Threads in which names are looked up and files are read; each is started when it is needed first. A name server that
does not answer holds one for each name, some ten seconds each time: with asyncio's own 6 on a machine of two processors
a few phone systems or webhooks would keep the files of all others from being read."""


@dataclass(slots=True)
class _Tls:
    """What the next handshake begins with: a certificate that was renewed comes with a reload."""

    context: ssl.SSLContext | None


async def run(config: Config, load: Callable[[], Config]) -> None:
    """Work until SIGTERM or SIGINT. `load` reads the configuration again on SIGHUP.

    Raises ConfigError, StoreError or JournalLocked for what a person must repair first.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(WAITING_THREADS, thread_name_prefix="waiting"))
    stopping, hangup = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    notifier = SystemdNotifier()
    tls = _Tls(server_context(config.http))
    hub = await Hub.start(config)
    gc.collect()
    gc.freeze()  # what a start makes stays: the collector need not look through it
    side: list[asyncio.Task[None]] = []
    try:
        async with serving(hub, tls=lambda: tls.context):
            hub.say_started()
            notifier.ready(hub.status())
            side = [
                asyncio.create_task(_reload_on(hangup, hub=hub, tls=tls, load=load, notifier=notifier)),
                asyncio.create_task(_beat(hub, notifier)),
                asyncio.create_task(hub.failed()),
            ]
            stop = asyncio.create_task(stopping.wait())
            done, _ = await asyncio.wait([stop, *side], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            notifier.stopping()
            for task in done - {stop}:
                task.result()
    finally:
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
        await hub.stop()


@asynccontextmanager
async def serving(hub: Hub, *, tls: Callable[[], ssl.SSLContext | None]) -> AsyncGenerator[None]:
    """The HTTP server of `hub`, while the context is open. `tls` is asked at each handshake."""
    http = hub.config.http
    guard = _guarding(hub)
    app = make_app(
        routes=hub.routes,
        metrics=hub.metrics,
        guard=guard,
        readiness=hub,
        max_body=http.max_body,
        feed=LiveFeed(hub.broadcast.events, guard=guard, metrics=hub.metrics),
    )
    add_api(app, served=hub, guard=guard)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # `receive` unpacks: of what cannot be unpacked no handler would hear
        handle_signals=False,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=HTTP_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 - `setup` made it
    try:
        listening = bind(http.listen, key="http.listen")
        refused, unmet = hub.metrics.http_refused.inc, hub.metrics.http_unmet.inc
        async with taking(listening, server=server, tls=tls, refused=refused, unmet=unmet):
            yield
    finally:
        await runner.cleanup()


def _guarding(hub: Hub) -> Callable[[], Guard]:
    """The guard of the configuration as it is at the moment: a reload may change the tokens."""
    known = hub.config.http
    guard = _guard(known)

    def current() -> Guard:
        nonlocal known, guard
        if hub.config.http is not known:
            known = hub.config.http
            guard = _guard(known)
        return guard

    return current


def _guard(http: HttpConfig) -> Guard:
    return Guard(
        tokens=[
            Token(name=t.name, token=t.token.get_secret_value(), role=t.role, tenant=t.tenant) for t in http.tokens
        ],
        trusted_proxies=http.trusted_proxies,
    )


async def _reload_on(
    hangup: asyncio.Event, *, hub: Hub, tls: _Tls, load: Callable[[], Config], notifier: SystemdNotifier
) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        notifier.reloading()
        caution = ""
        try:
            config, renewed = await asyncio.to_thread(_read, load)
            await asyncio.shield(hub.reload(config))  # a stop waits for it, and does not leave it half done
            tls.context = renewed
        except (CdrhubError, OSError) as error:  # what is missing may be a free descriptor, to read the file by
            log.error(
                "the reload was refused; the old configuration stays",
                action="reload_refused",
                error=str(error),
                exc_info=isinstance(error, ReloadFailed),
            )
            caution = "the last reload was refused, the log says why"  # `systemctl reload` has no way to hear of it
        notifier.ready(hub.status(), caution=caution)


def _read(load: Callable[[], Config]) -> tuple[Config, ssl.SSLContext | None]:
    """The configuration as it is now, and its certificate. Raises CdrhubError, OSError."""
    try:
        config = load()
        return config, server_context(config.http)
    except (CdrhubError, OSError):
        raise
    except Exception as error:
        raise ReloadFailed(f"{type(error).__name__}: {error}") from error


async def _beat(hub: Hub, notifier: SystemdNotifier) -> None:
    while True:
        notifier.alive(hub.status())
        await asyncio.sleep(notifier.watchdog_seconds or 10.0)
