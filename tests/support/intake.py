"""An intake for tests: it implements the whole `Intake` protocol, keeps what it is given, and can misbehave.

`full` holds every message back as a full journal does, which remembers positions still, `slow_seconds` makes each one
late, `refusing` makes it raise. Sockets and the HTTP server are real.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

from cdrhub.errors import IntakeRefused, StoreUnavailable
from cdrhub.model.call import Call
from cdrhub.model.record import MAX_BODY_BYTES, RawRecord
from cdrhub.sources.base import HttpHandler, Source
from support.records import raw_record

WAIT_SECONDS = 20.0  #: until a test that waits for something gives up


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """One message that became durable."""

    body: bytes
    content_type: str
    attributes: Mapping[str, Any]
    event_id: str | None


def recorded(kept: Accepted, *, source: str = "test") -> RawRecord:
    """The record that a message becomes."""
    return raw_record(
        kept.body, source=source, content_type=kept.content_type, event_id=kept.event_id, attributes=kept.attributes
    )


class RecordingIntake:
    """The intake of one source, without a hub. It outlives sessions, as the journal does."""

    def __init__(self, source: str = "test") -> None:
        self._source = source
        self.accepted: list[Accepted] = []
        self.groups: list[int] = []  #: size of each group, in order
        self.offered = 0  #: messages given to `accept`, durable or not
        self.refused = 0  #: groups, since it is `refusing`
        self.positions: dict[str, str] = {}
        self.inferences: list[Mapping[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.links: dict[str, str] = {}
        self.link_log: list[tuple[str, str]] = []  #: ("up" or "down", link)
        self.caught_up_with: list[str] = []
        self.stood_by_with: list[str] = []
        self.refusing = False
        self.calls: list[tuple[Call, timedelta]] = []  #: open calls, and how long each has been silent
        self.database_away = False
        self.slow_seconds = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self._listening: dict[str, socket.socket] = {}
        self._handlers: dict[str, HttpHandler] = {}

    # -- switches ----------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the journal is full."""
        return not self._room.is_set()

    @full.setter
    def full(self, full: bool) -> None:
        if full:
            self._room.clear()
        else:
            self._room.set()

    # -- the protocol ------------------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        return self._source

    async def accept(
        self,
        bodies: Sequence[bytes],
        *,
        content_type: str,
        attributes: Mapping[str, Any] | None = None,
        event_ids: Sequence[str | None] | None = None,
        position: tuple[str, str] | None = None,
        within: float | None = None,
    ) -> None:
        assert event_ids is None or len(event_ids) == len(bodies)
        assert all(type(body) is bytes for body in bodies)
        assert isinstance(content_type, str)
        self.offered += len(bodies)
        try:
            async with asyncio.timeout(within):
                await asyncio.sleep(self.slow_seconds)
                if bodies:
                    await self._room.wait()
        except TimeoutError as error:
            raise IntakeRefused(f"not durable within {within} s") from error
        if self.refusing:
            self.refused += 1
            raise IntakeRefused("refusing")
        for number, body in enumerate(bodies):
            self.accepted.append(
                Accepted(
                    body=body,
                    content_type=content_type,
                    attributes=dict(attributes or {}),
                    event_id=event_ids[number] if event_ids is not None else None,
                )
            )
        if bodies:
            self.groups.append(len(bodies))
        if position is not None:
            self.positions[position[0]] = position[1]

    async def infer(self, inference: Mapping[str, Any]) -> None:
        if self.refusing:
            raise IntakeRefused("refusing")
        self.inferences.append(dict(inference))

    async def open_calls(self, *, silent_for: timedelta = timedelta(0)) -> Sequence[Call]:
        if self.database_away:
            raise StoreUnavailable("away")
        return [call for call, silence in self.calls if silence >= silent_for]

    def position(self, key: str) -> str | None:
        return self.positions.get(key)

    async def forget(self, keys: Sequence[str]) -> None:
        if self.refusing:
            raise IntakeRefused("refusing")
        for key in keys:
            self.positions.pop(key, None)

    def link_up(self, link: str, detail: str = "") -> None:
        self.links[link] = detail
        self.link_log.append(("up", link))

    def link_down(self, link: str, detail: str = "") -> None:  # noqa: ARG002 - the protocol's
        self.links.pop(link, None)
        self.link_log.append(("down", link))

    def caught_up(self, detail: str) -> None:
        self.caught_up_with.append(detail)

    def standing_by(self, detail: str) -> None:
        self.stood_by_with.append(detail)

    async def listen(self, address: str) -> socket.socket:
        return self.bound(address).dup()

    @contextmanager
    def mount(self, path: str, handler: HttpHandler) -> Generator[None]:
        assert path not in self._handlers
        self._handlers[path] = handler
        try:
            yield
        finally:
            del self._handlers[path]

    def count(self, what: str, amount: int = 1) -> None:
        assert re.fullmatch("[a-z0-9_]{1,64}", what)
        self.counts[what] += amount

    # -- for tests ---------------------------------------------------------------------------------------------------

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that became durable, in order."""
        return [accepted.body for accepted in self.accepted]

    @property
    def mounted(self) -> bool:
        """Whether any handler is mounted."""
        return bool(self._handlers)

    def bound(self, address: str) -> socket.socket:
        """The listening socket of `address`; port 0 takes a free one, which later calls keep."""
        if address not in self._listening:
            host, _, port = address.rpartition(":")
            listening = socket.create_server((host, int(port)))
            listening.setblocking(False)
            self._listening[address] = listening
        return self._listening[address]

    def port(self, address: str) -> int:
        """The port that `address` is bound to."""
        return int(self.bound(address).getsockname()[1])

    @asynccontextmanager
    async def http_server(
        self, *, client_max_size: int = MAX_BODY_BYTES, lingering_time: float = 10.0
    ) -> AsyncGenerator[str]:
        """Serve what sources mount on a loopback port; yields the base URL. An unknown path is 404."""

        async def route(request: web.Request) -> web.StreamResponse:
            handler = self._handlers.get(request.path)
            return web.Response(status=404) if handler is None else await handler(request)

        application = web.Application(client_max_size=client_max_size)
        application.router.add_route("*", "/{tail:.*}", route)
        runner = web.AppRunner(application, auto_decompress=False, lingering_time=lingering_time)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        try:
            await web.SockSite(runner, listening).start()
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            await runner.cleanup()
            listening.close()

    @asynccontextmanager
    async def serving(self, source: Source, path: str, *, client_max_size: int = MAX_BODY_BYTES) -> AsyncGenerator[str]:
        """A session of a source that is pushed to at `path`, behind the HTTP server; yields the URL."""
        async with self.http_server(client_max_size=client_max_size) as base:
            session = asyncio.create_task(source.session(self))
            try:
                await until(lambda: self.mounted, "the source mounts its path")
                yield base + path
            finally:
                session.cancel()
                await asyncio.gather(session, return_exceptions=True)

    def close(self) -> None:
        """Close the listening sockets."""
        for listening in self._listening.values():
            listening.close()
        self._listening.clear()


async def until(condition: Callable[[], object], why: str = "") -> None:
    """Wait until `condition()` is true; a test that waits in vain fails with `why`."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():  # noqa: ASYNC110 - what is waited for knows nothing of us
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {why or condition}") from None
