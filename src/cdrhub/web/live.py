"""`GET /api/v1/events`: the log of public facts as server-sent events, from any position that it still holds.

The log itself is the buffer: a reader who was away sends `Last-Event-ID` and goes on at the very next event, after a
restart of the hub and at another hub too. Where that cannot be, because the events were purged or the position was
never given, it is told so by an event `reset` instead of silence. Every reader holds a position and some CHUNK_BYTES;
one that takes nothing for `slow_seconds` is told (`cut`) and closed, and comes back with its `Last-Event-ID`.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import orjson
import structlog
from aiohttp import hdrs, web

from cdrhub.broadcast.bell import Bell
from cdrhub.broadcast.events import TYPES, Event, Selection
from cdrhub.broadcast.log import AT_ONCE, Reach
from cdrhub.broadcast.render import rendered
from cdrhub.config import Role
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.web.api.operation import PREFIX, not_valid
from cdrhub.web.api.problems import Kind, Refused
from cdrhub.web.asker import CHALLENGE, asker
from cdrhub.web.auth import Guard, Holder

log = structlog.get_logger(__name__)

PATH = f"{PREFIX}/events"
CHUNK_BYTES = 65_536  #: written at once; the server waits until the reader took most of it
READ_AT_ONCE = 200  #: events
REMEMBERED_FRAMES = 500  #: of the newest events; some 2 KB each
MAX_FILTERS = 50  #: values of one filter
MAX_FILTER = 255  #: characters of one value
READER_RETRY_SECONDS = 2  #: after which a reader whose connection was closed comes back
LOOK_SECONDS = 2.0  #: until it is noticed that a reader has gone
DATABASE_RETRY_SECONDS = 1.0
LAST_EVENT_ID = "Last-Event-ID"

_POSITION = re.compile(r"[0-9]{1,18}")
_PATTERN = re.compile(r"[a-z._*]{1,64}")
_FILTERS = ("type", "source", "queue", "tenant")


class Log(Protocol):
    """The log as the feed reads it: `broadcast.log.EventLog`."""

    newest: int
    readers: set[Bell]

    async def after(self, position: int, *, limit: int = AT_ONCE) -> Sequence[Event]:
        """The events after `position`, in order, at most `limit`."""

    async def reach(self) -> Reach:
        """How far it reaches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many readers there may be, and how patient the feed is; tests make it shorter."""

    readers: int = 200
    readers_of_one: int = 50  #: with the same token
    heartbeat_seconds: float = 15.0
    slow_seconds: float = 30.0  #: that a reader may take nothing
    farewell_seconds: float = 10.0  #: that it then has to take what it is told


class _Cut(Exception):
    """This reader is closed; the message is the reason."""


class LiveFeed:
    """All readers of one hub. `guard` is asked again and again, for a reload may change the tokens."""

    def __init__(
        self,
        event_log: Log,
        *,
        guard: Callable[[], Guard],
        metrics: Metrics,
        limits: Limits = Limits(),
    ) -> None:
        self._log = event_log
        self._guard = guard
        self._metrics = metrics
        self._limits = limits
        self._readers: Counter[str] = Counter()
        self._frames: dict[int, bytes] = {}  #: all readers are sent the same
        self._stopping = False

    async def close(self, app: web.Application) -> None:  # noqa: ARG002 - a handler of `on_shutdown`
        """Tell every reader that the hub stops, and close."""
        self._stopping = True
        for bell in list(self._log.readers):
            bell.ring()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one reader until it goes or is cut."""
        try:
            holder = self._admitted(request)
            selection = read_selection(request.query.items(), holder=holder)
            with self._a_place(holder):
                asked = request.headers.get(LAST_EVENT_ID) or request.query.get("last_event_id")
                begin = await self._begin(asked)
                response = web.StreamResponse(
                    headers={
                        hdrs.CONTENT_TYPE: "text/event-stream",
                        hdrs.CACHE_CONTROL: "no-store",
                        "X-Accel-Buffering": "no",  # nginx would keep events back
                    }
                )
                reader = _Reader(request, response, limits=self._limits)
                try:
                    await response.prepare(request)
                    await self._serve(reader, selection, begin, holder=holder)
                except _Cut as cut:
                    self._metrics.live_cuts.labels(str(cut)).inc()
                    log.info("a reader of the live feed is cut", action="live_cut", reason=str(cut), token=holder.name)
                    await reader.farewell(str(cut))
                except ConnectionError:
                    pass  # it has gone
                return response
        except Refused as refused:
            return refused.response()

    def _admitted(self, request: web.Request) -> Holder:
        holder = asker(request, self._guard())
        if holder is None:
            raise Refused(Kind.TOKEN, "send Authorization: Bearer <token> (docs/security.md)", headers=CHALLENGE)
        if not holder.may(Role.READ):
            raise Refused(Kind.FORBIDDEN, "this needs the role read")
        return holder

    @contextlib.contextmanager
    def _a_place(self, holder: Holder) -> Iterator[None]:
        if self._readers.total() >= self._limits.readers or self._readers[holder.name] >= self._limits.readers_of_one:
            raise Refused(Kind.TOO_MANY_READERS, "close another one, or come back", headers={hdrs.RETRY_AFTER: "30"})
        self._readers[holder.name] += 1
        self._metrics.live_readers.set(self._readers.total())
        try:
            yield
        finally:
            self._readers[holder.name] -= 1
            self._metrics.live_readers.set(self._readers.total())

    async def _begin(self, asked: str | None) -> _Begin:
        """Where a reader begins who sent `asked` as the last position it has."""
        try:
            reach = await self._log.reach()
        except StoreUnavailable as error:
            raise Refused(Kind.UNAVAILABLE, "come back", headers={hdrs.RETRY_AFTER: "5"}) from error
        if asked is None:
            return _Begin(position=reach.newest)
        if _POSITION.fullmatch(asked) is None or int(asked) > reach.newest:
            return _Begin(position=reach.newest, reset="unknown")
        position = int(asked)
        if position + 1 < reach.oldest:
            return _Begin(position=reach.oldest - 1, reset="purged")
        return _Begin(position=position)

    async def _serve(self, reader: _Reader, selection: Selection, begin: _Begin, *, holder: Holder) -> None:
        """Send what is wanted, from `begin` on. Raises _Cut, ConnectionError once the reader has gone."""
        position = begin.position
        await reader.write(f"retry: {READER_RETRY_SECONDS * 1000}\nid: {position}\n\n".encode())
        if begin.reset:
            await reader.write(reset(begin.reset, position=position))
        bell, looked = Bell(), time.monotonic()
        self._log.readers.add(bell)
        try:
            while True:
                found = await self._after(position)
                if found and found[0].position > position + 1:
                    position = found[0].position - 1
                    await reader.write(reset("purged", position=position))
                await reader.write_all(self._framed(event) for event in found if event in selection)
                position = found[-1].position if found else position
                if self._stopping:
                    raise _Cut("stopping")
                if time.monotonic() >= looked + self._limits.heartbeat_seconds:
                    if asker(reader.request, self._guard()) != holder:
                        raise _Cut("token")
                    looked = time.monotonic()
                if reader.wants_heartbeat:
                    # The id spares whoever comes back all that was not for it.
                    await reader.write(f": heartbeat\nid: {position}\n\n".encode())
                if not found:
                    await bell.wait(min(LOOK_SECONDS, self._limits.heartbeat_seconds))
        finally:
            self._log.readers.discard(bell)

    def _framed(self, event: Event) -> bytes:
        known = self._frames.get(event.position)
        if known is None:
            known = self._frames[event.position] = self._frame(event)
            if len(self._frames) > REMEMBERED_FRAMES:
                del self._frames[next(iter(self._frames))]
        return known

    def _frame(self, event: Event) -> bytes:
        try:
            return frame(event)
        except Exception:
            log.exception("an event cannot be written", action="event_unwritable", position=event.position)
            return reset("unwritable", position=event.position)

    async def _after(self, position: int) -> Sequence[Event]:
        if self._stopping or position >= self._log.newest:
            return ()
        try:
            return await self._log.after(position, limit=READ_AT_ONCE)
        except StoreUnavailable:
            await asyncio.sleep(DATABASE_RETRY_SECONDS)  # the heartbeat goes on; the hub's own reader logs it
            return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Begin:
    """After which position a reader begins, and why not where it asked to."""

    position: int
    reset: str = ""


class _Reader:
    """One connection."""

    def __init__(self, request: web.Request, response: web.StreamResponse, *, limits: Limits) -> None:
        self.request = request
        self._response = response
        self._limits = limits
        self._written = time.monotonic()

    @property
    def wants_heartbeat(self) -> bool:
        """Whether it heard nothing for as long as a proxy may bear."""
        return time.monotonic() >= self._written + self._limits.heartbeat_seconds

    async def write_all(self, frames: Iterable[bytes]) -> None:
        """Write `frames`, a chunk at a time."""
        if self.request.transport is None:
            raise ConnectionResetError
        chunk = bytearray()
        for one in frames:
            chunk += one
            if len(chunk) >= CHUNK_BYTES:
                await self.write(bytes(chunk))
                chunk.clear()
        if chunk:
            await self.write(bytes(chunk))

    async def write(self, piece: bytes) -> None:
        """Write, and wait until the reader has taken most of it. Raises _Cut, ConnectionError."""
        try:
            async with asyncio.timeout(self._limits.slow_seconds):
                await self._response.write(piece)
        except TimeoutError as error:
            raise _Cut("slow") from error
        self._written = time.monotonic()

    async def farewell(self, reason: str) -> None:
        """Say why it is cut, behind what it has not taken yet, and close: soon in any case."""
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return
        self._response.force_close()
        asyncio.get_running_loop().call_later(self._limits.farewell_seconds, _break, transport.get_extra_info("socket"))
        with contextlib.suppress(ConnectionError):
            await self._response.write(b"event: cut\ndata: %b\n\n" % orjson.dumps({"reason": reason}))
            await self._response.write_eof()


def _break(connection: socket.socket) -> None:
    """Break a connection, if it is still there. Its transport cannot: one of TLS that was closed twice, as aiohttp
    does, knows its connection no longer (sslproto of Python 3.11 and later)."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def frame(event: Event) -> bytes:
    """One event: its position and the CloudEvents document, which is one line."""
    return b"id: %d\ndata: %b\n\n" % (event.position, rendered(event))


def reset(reason: str, *, position: int) -> bytes:
    """Why a reader may have missed events (`purged`, `unknown`, `unwritable`), and after which position it goes on."""
    said = orjson.dumps({"reason": reason, "position": position})
    return b"id: %d\nevent: reset\ndata: %b\n\n" % (position, said)


def read_selection(query: Iterable[tuple[str, str]], *, holder: Holder) -> Selection:
    """What a query string asks for, within what `holder` sees; each filter may stand several times. Raises Refused."""
    wanted: dict[str, list[str]] = {name: [] for name in _FILTERS}
    for name, value in query:
        if name == "last_event_id":
            continue
        if name not in wanted:
            raise not_valid(name, f"is unknown: there are {', '.join(_FILTERS)}, last_event_id")
        some = value or name == "tenant"  # no name: the sources without a tenant
        if not some or len(value) > MAX_FILTER or len(wanted[name]) >= MAX_FILTERS:
            raise not_valid(name, f"1 to {MAX_FILTER} characters, at most {MAX_FILTERS} times")
        wanted[name].append(value)
    for pattern in wanted["type"]:
        if not _PATTERN.fullmatch(pattern) or not any(fnmatchcase(kind, pattern) for kind in TYPES):
            raise not_valid("type", "no event is of that type; write call.ended or call.* (docs/events.md)")
    tenants = wanted["tenant"]
    if holder.tenant is not None:
        if any(tenant != holder.tenant for tenant in tenants):
            raise Refused(Kind.FORBIDDEN, "the token is limited to another tenant")
        tenants = [holder.tenant]
    return Selection(
        types=tuple(wanted["type"]) or ("*",),
        sources=tuple(wanted["source"]),
        queues=tuple(wanted["queue"]),
        tenants=tuple(tenants),
    )
