"""The aiohttp application: ingest, health, readiness, metrics.

- `/ingest/…` is one route over the table of `routes.py`; an unknown path is 404, whatever it holds, and a web page in a
  browser on the machine is refused. Handlers find `http.max_body` as `request.client_max_size`.
- `/healthz` says that the process is alive; it is open to everyone and says nothing else.
- `/readyz` says whether records are taken (503 if not) and what is wrong; needs the role read.
- `/metrics` is Prometheus text; needs the role read.

A token that is limited to a tenant sees neither of the last two: they tell of all.

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
from cdrhub.web import live
from cdrhub.web.asker import CHALLENGE, asker, client_of
from cdrhub.web.auth import Guard
from cdrhub.web.live import LiveFeed

_ANOTHERS_PAGE = frozenset({"cross-site", "same-site"})
"""What browsers say of a request that a page of somebody else makes (W3C Fetch Metadata), to which an ingest path on
loopback needs no secret. No phone system sends it."""

MAX_LINE_BYTES = 8190  #: of a request line
MAX_HEADER_BYTES = 8190  #: of one header

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
    *,
    routes: Routes,
    metrics: Metrics,
    guard: Callable[[], Guard],
    readiness: Readiness,
    max_body: int,
    feed: LiveFeed | None = None,
) -> web.Application:
    """The application that serves these. `guard` is asked at every request, for a reload may change the tokens."""

    async def ingest(request: web.Request) -> web.StreamResponse:
        handler = routes.find(request.path)
        if handler is None:
            raise web.HTTPNotFound(text="there is nothing here\n")
        if request.headers.get("Sec-Fetch-Site") in _ANOTHERS_PAGE:
            raise web.HTTPForbidden(text="a web page sends no records\n")
        now = guard()
        if now.trusted_proxies:
            request = request.clone(remote=client_of(request, now))
        return await handler(request)

    def guarded(handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            holder = asker(request, guard())
            if holder is None or not holder.may(Role.READ):
                raise web.HTTPUnauthorized(
                    text="this page needs a token: Authorization: Bearer <token> (docs/security.md)\n",
                    headers=CHALLENGE,
                )
            if holder.tenant is not None:
                raise web.HTTPForbidden(text="this page tells of all tenants, and the token is limited to one\n")
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
    app.router.add_get("/readyz", guarded(readyz))
    app.router.add_get("/metrics", guarded(exposition))
    if feed is not None:
        app.router.add_get(live.PATH, feed.handle, allow_head=False)
        app.on_shutdown.append(feed.close)
    return app
