"""Load generators, each run in a process of its own, to loopback addresses only, bounded in time.

`lines` keeps at most `ahead` records between the sender and the database, so that the rate is that of the whole way
and no queue grows: the measured program's own count of committed rows is asked through a callable.
`python -m bench.load SYSTEM PORT PATH CONNECTIONS SECONDS` is the HTTP client of a system that pushes (voicenter,
astercc): it prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK_LINES = 100
COUNT_SECONDS = 0.1  #: between two counts: each costs the measured program a millisecond and more, fifty a second were
#: a twentieth of its time


def can_connect(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What was committed in the measured stretch, after a warm-up."""

    records: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Records committed per second."""
        return self.records / self.seconds


def lines(
    port: int,
    source: Iterator[bytes],
    *,
    committed: Callable[[], int],
    warm_up: float,
    seconds: float,
    ahead: int,
) -> Rate:
    """Send lines as fast as they are committed, and measure the rate of commits over `seconds` after `warm_up`."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        sent = committed()
        began = time.monotonic()
        since: tuple[float, int] | None = None
        while True:
            done = committed()
            now = time.monotonic()
            if since is None and now - began >= warm_up:
                since = (now, done)
            if since is not None and now - since[0] >= seconds:
                return Rate(records=done - since[1], seconds=now - since[0])
            while sent - done < ahead:
                peer.sendall(b"".join(next(source) for _ in range(BLOCK_LINES)))
                sent += BLOCK_LINES
            time.sleep(COUNT_SECONDS)


@dataclass(slots=True)
class _Posts:
    """What the connections of one run found."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0


class _Client(asyncio.Protocol):
    """One keep-alive connection: the next request leaves when the answer of the one before is there."""

    def __init__(
        self,
        *,
        pushing: _Pushing,
        path: str,
        number: int,
        until: float,
        posts: _Posts,
        finished: asyncio.Future[None],
    ) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {pushing.media_type}\r\n".encode()
        self._pushing = pushing
        self._number = number
        self._until = until
        self._posts = posts
        self._finished = finished
        self._count = 0
        self._sent_at = 0.0
        self._answer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._posts.seconds.append(time.perf_counter() - self._sent_at)
        if self._pushing.accepted not in body:
            self._posts.refused += 1
        self._answer = b""
        if time.monotonic() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if not self._finished.done():
            self._finished.set_result(None)

    def _send(self) -> None:
        self._count += 1
        body = self._pushing.body(self._number, self._count)
        self._sent_at = time.perf_counter()
        self._transport.write(self._head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def _cdr(connection: int, count: int) -> bytes:
    started = 1_790_000_000 + count
    return (
        b'{"caller":"05%08d","target":"0722776772","time":%d,"duration":%d,"ivruniqueid":"bench%06d%010d",'
        b'"type":"Incoming Call","status":"ANSWER","targetextension":"SIP%d","callerextension":"","did":"0722776772",'
        b'"queueid":0,"queuename":"","record":"","price":0,"dialtime":7,"representative_name":"Agent %d",'
        b'"representative_code":"%d","target_country":"Israel","caller_country":"Israel"}'
    ) % (count % 40_000, started, count % 600, connection, count, connection, connection, connection)


_RUN = time.time_ns() // 1_000_000  #: keeps the sessions of a warm-up and of the measured stretch apart

#: The seven events of an answered outgoing call, in the vendor's spelling.
_EVENTS = tuple(
    (source, word, b"hangupfirst=CALLEE&" if word == b"hangup" and source != b"CONVERSATION" else b"")
    for source, word in (
        (b"AGENT", b"ringing"),
        (b"AGENT", b"answer"),
        (b"CALLEE", b"ringing"),
        (b"CALLEE", b"answer"),
        (b"CALLEE", b"hangup"),
        (b"AGENT", b"hangup"),
        (b"CONVERSATION", b"hangup"),
    )
)


def _event(connection: int, count: int) -> bytes:
    call, place = divmod(count - 1, len(_EVENTS))
    source, word, first = _EVENTS[place]
    return (
        b"calleridnum=0138%07d&didnumber=&activenum=%s&source=%s&event=%s&uniqueid=%d.%d&sessionid=%012x%04x%016x&"
        b"eventTime=2026-03-09 %02d:%02d:%02d&AgentTeamId=31&modeltype=Campaign&model_id=10&AgentGroupId=301&"
        b"calltype=dialout&channel=Local/0138%07d@hosted-dialout-408a;1&from=dialout&agentno=%d&orgidentity=bench&"
        b"eventid=%d&%s"
    ) % (
        call % 10_000_000,
        b"%d" % (6000 + connection) if source == b"AGENT" else b"0138%07d" % (call % 10_000_000),
        source,
        word,
        call,
        place,
        _RUN,
        connection,
        call,
        call // 3600 % 24,
        call // 60 % 60,
        call % 60,
        call % 10_000_000,
        7000 + connection,
        connection * 10**12 + count,
        first,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pushing:
    """How a system pushes: the body of the nth request of a connection, and what an answer that accepts it holds."""

    media_type: str
    body: Callable[[int, int], bytes]
    accepted: bytes


_SYSTEMS = {
    "voicenter": _Pushing(media_type="application/json", body=_cdr, accepted=b'"err":0'),
    "astercc": _Pushing(media_type="application/x-www-form-urlencoded", body=_event, accepted=b"OK"),
}


async def posts(system: str, *, port: int, path: str, connections: int, seconds: float) -> _Posts:
    """POST what `system` pushes over `connections` keep-alive connections for `seconds`."""
    loop = asyncio.get_running_loop()
    found = _Posts()
    until = time.monotonic() + seconds
    waits = []
    for number in range(connections):
        finished: asyncio.Future[None] = loop.create_future()
        waits.append(finished)
        await loop.create_connection(
            lambda number=number, finished=finished: _Client(  # type: ignore[misc]
                pushing=_SYSTEMS[system], path=path, number=number, until=until, posts=found, finished=finished
            ),
            "127.0.0.1",
            port,
        )
    await asyncio.gather(*waits)
    return found


def main() -> None:
    """Run the HTTP client as a program."""
    system, port, path, connections, seconds = sys.argv[1:]
    span = float(seconds)
    found = asyncio.run(posts(system, port=int(port), path=path, connections=int(connections), seconds=span))
    ordered = sorted(found.seconds)
    print(
        json.dumps(
            {
                "requests": len(ordered),
                "per_second": len(ordered) / span,
                "p50_ms": ordered[len(ordered) // 2] * 1000,
                "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
                "max_ms": ordered[-1] * 1000,
                "refused": found.refused,
            }
        )
    )


if __name__ == "__main__":
    main()
