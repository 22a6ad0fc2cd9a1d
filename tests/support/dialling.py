"""A scripted HTTP server that a dialler talks to, and the order that the tests give."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from cdrhub.model.dialling import DialOrder

ATTEMPT = "01a1fee2-51ab-712e-9ede-a0f7f6c3c197"


def order(**said: object) -> DialOrder:
    """One order, changed by `said`."""
    fields: dict[str, object] = {
        "attempt_id": ATTEMPT,
        "case_code": "C-1",
        "source": "here",
        "number": "+972541234567",
        "agent": "7001",
    }
    return DialOrder(**(fields | said))  # type: ignore[arg-type]


@dataclass(kw_only=True)
class Request:
    """One request as its bytes said."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(kw_only=True)
class Vendor:
    """Answers every request with `answer`, whole bytes of HTTP; None hangs up without one. `silent` answers nothing and
    keeps the connection."""

    url: str = ""
    answer: bytes | None = None
    silent: bool = False
    asked: Callable[[Request], Awaitable[None]] | None = None  #: done before the answer
    requests: list[Request] = field(default_factory=list)

    def says(self, body: bytes | str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with this body from now on."""
        content = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.answer = "\r\n".join((*lines, "", "")).encode() + content

    def falls_silent(self, *, seconds: float) -> None:
        """Answer nothing from now on. For the event loop so many seconds are over when a request has come."""
        loop = asyncio.get_running_loop()
        before = loop.time

        async def over(_: Request) -> None:
            loop.time = lambda: before() + seconds  # type: ignore[method-assign]

        self.silent, self.asked = True, over


@asynccontextmanager
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor on a loopback port; `url` is its root, without a slash at the end."""
    found = Vendor()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            request = await _request(reader)
            found.requests.append(request)
            if found.asked is not None:
                await found.asked(request)
            if found.silent:
                await asyncio.Event().wait()
            if found.answer is not None:
                writer.write(found.answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method=method, target=target, headers=headers, body=body)
