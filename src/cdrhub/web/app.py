"""The aiohttp application: ingest, health, readiness, metrics.

- `/ingest/…` is one route over the table of `routes.py`; an unknown path is 404, whatever it holds. Handlers find
  `http.max_body` as `request.client_max_size`.
- `/healthz` says that the process is alive; it is open to everyone and says nothing else.
- `/readyz` says whether records are taken (503 if not) and what is wrong; needs the role read.
- `/metrics` is Prometheus text; needs the role read.

Without tokens the last two answer loopback clients only, and only under a Host header that names loopback, so that
a web page in a browser on the machine cannot read them by DNS rebinding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from aiohttp import hdrs, web

from cdrhub.config import Role
from cdrhub.metrics import Metrics
from cdrhub.routes import Routes
from cdrhub.web.auth import Guard

MAX_LINE_BYTES = 8190  #: of a request line
MAX_HEADER_BYTES = 8190  #: of one header
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Readiness(Protocol):
    """What /readyz reports."""

    @property
    def problems(self) -> list[str]:
        """Why no records are taken or stored at the moment; empty when all is well."""

    @property
    def taking(self) -> bool:
        """Whether records are accepted and kept durable."""


def make_app(
    *, routes: Routes, metrics: Metrics, guard: Callable[[], Guard], readiness: Readiness, max_body: int
) -> web.Application:
    """The application that serves these. `guard` is asked at every request, for a reload may change the tokens."""

    async def ingest(request: web.Request) -> web.StreamResponse:
        handler = routes.find(request.path)
        if handler is None:
            raise web.HTTPNotFound(text="there is nothing here\n")
        now = guard()
        if now.trusted_proxies:
            request = request.clone(remote=_client(request, now))
        return await handler(request)

    def guarded(role: Role, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            now = guard()
            client = _client(request, now)
            allowed = now.allows(client=client, authorization=request.headers.get(hdrs.AUTHORIZATION), role=role)
            if not allowed or (not now.tokens and not _names_loopback(request.host)):
                raise web.HTTPUnauthorized(
                    text="this page needs a token: Authorization: Bearer <token> (docs/security.md)\n",
                    headers={hdrs.WWW_AUTHENTICATE: 'Bearer realm="cdrhub"'},
                )
            return await handler(request)

        return checked

    async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001 - the handler's signature
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:  # noqa: ARG001 - the handler's signature
        body = orjson.dumps({"taking": readiness.taking, "problems": readiness.problems})
        return web.Response(body=body, status=200 if readiness.taking else 503, content_type="application/json")

    async def exposition(request: web.Request) -> web.Response:  # noqa: ARG001 - the handler's signature
        return web.Response(
            body=metrics.text(), headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4; charset=utf-8"}
        )

    app = web.Application(client_max_size=max_body)
    app.router.add_route("*", "/ingest/{tail:.*}", ingest)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", guarded(Role.READ, readyz))
    app.router.add_get("/metrics", guarded(Role.READ, exposition))
    return app


def _client(request: web.Request, guard: Guard) -> str:
    """Where a request came from. A proxy may add a header of its own instead of extending the one it got."""
    forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
    return guard.client(request.remote or "", ",".join(forwarded) or None)


def _names_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.lower() in LOOPBACK_HOSTS
