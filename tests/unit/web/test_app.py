"""The application over real HTTP: whose address handlers and pages see, and how long a body may be."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp import web

from cdrhub.config import Role
from cdrhub.metrics import Metrics
from cdrhub.routes import Routes
from cdrhub.web.app import make_app
from cdrhub.web.auth import Guard, Token

PATH = "/ingest/test/0123456789abcdef"


class Ready:
    """A hub without problems."""

    problems: list[str] = []  # noqa: RUF012 - never changed
    taking = True


@asynccontextmanager
async def served(*, proxies: Sequence[str], tokens: Sequence[Token] = ()) -> AsyncGenerator[str]:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.remote} {request.client_max_size}")

    routes = Routes()
    guard = Guard(tokens=tokens, trusted_proxies=[ip_network(proxy) for proxy in proxies])
    app = make_app(
        routes=routes,
        metrics=Metrics(),
        guard=lambda: guard,
        readiness=Ready(),
        max_body=2_000,
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, listening).start()
        with routes.mount(PATH, handle):
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1, 192.0.2.7", "127.0.0.2"], "192.0.2.7"),
        ([], "127.0.0.1"),
    ],
)
async def test_a_handler_is_told_the_client_and_the_limit(forwarded: list[str], client: str) -> None:
    headers = [("X-Forwarded-For", value) for value in forwarded]
    async with (
        served(proxies=["127.0.0.0/8"]) as url,
        aiohttp.ClientSession() as session,
        session.post(url + PATH, headers=headers) as answer,
    ):
        assert await answer.text() == f"{client} 2000"


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("none", 200), (None, 200)])
async def test_a_web_page_pushes_nothing(site: str | None, status: int) -> None:
    async with (
        served(proxies=[]) as url,
        aiohttp.ClientSession() as session,
        session.post(url + PATH, headers={"Sec-Fetch-Site": site} if site is not None else {}) as answer,
    ):
        assert answer.status == status


async def test_pages_are_not_for_who_comes_through_a_proxy() -> None:
    headers = [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-For", "192.0.2.7")]
    async with served(proxies=["127.0.0.1/32"]) as url, aiohttp.ClientSession() as session:
        async with session.get(url + "/readyz", headers=headers) as answer:
            assert answer.status == 401
        async with session.get(url + "/readyz") as answer:
            assert answer.status == 200


async def test_pages_of_all_tenants_are_not_for_a_token_of_one() -> None:
    token = Token(name="acme", token="t" * 16, role=Role.ADMIN, tenant="acme")
    headers = {"Authorization": f"Bearer {token.token}"}
    async with served(proxies=[], tokens=[token]) as url, aiohttp.ClientSession() as session:
        for page in ("/readyz", "/metrics"):
            async with session.get(url + page, headers=headers) as answer:
                assert answer.status == 403
