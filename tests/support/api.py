"""The API over real HTTP: the real application and orders, on a database that the test brings.

Every answer is compared with the OpenAPI document: its status, its content type and the names in its body must be told.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

from cdrhub.config import Config, parse
from cdrhub.hub.phone_systems import PhoneSystemsOfHub
from cdrhub.metrics import Metrics
from cdrhub.redial.orders import Orders
from cdrhub.routes import Routes
from cdrhub.store import Store
from cdrhub.web.api.openapi import document
from cdrhub.web.api.operation import MAX_BODY, PREFIX, Operation
from cdrhub.web.api.routes import OPERATIONS, add_api
from cdrhub.web.app import MAX_HEADER_BYTES, MAX_LINE_BYTES, make_app
from cdrhub.web.auth import Guard, Token

READ, OPERATE, ADMIN, ACME = (f"token-of-{name}-0123456789" for name in ("read", "operate", "admin", "acme"))
NUMBERS = ("08039100001", "08039100002", "08039100003")
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIG = f"""
[[http.tokens]]
name = "bi"
token = "{READ}"
role = "read"
[[http.tokens]]
name = "crm"
token = "{OPERATE}"
role = "operate"
[[http.tokens]]
name = "chief"
token = "{ADMIN}"
role = "admin"
[[http.tokens]]
name = "acme"
token = "{ACME}"
role = "admin"
tenant = "acme"

[sources.lagos]
type = "3cx"
mode = "listen"
listen = "127.0.0.1:5555"
region = "NG"
dialler = "crm"
[sources.lagos-archive]
type = "3cx"
mode = "file"
path = "cdr.log"
into = "lagos"
[sources.tel-aviv]
type = "voicenter"
path = "/ingest/voicenter/0123456789abcdef"
region = "IL"
tenant = "acme"
dialler = "crm"

[redial]
mode = "on"
[redial.diallers.crm]
type = "webhook"
url = "https://crm.example/dial"
secret = "{WHSEC}"
"""


@dataclass
class Peer:
    """What the API needs of a hub. Its clock goes as the test says; every phone system is seen."""

    config: Config
    store: Store
    now: datetime = field(default_factory=lambda: datetime(2026, 11, 18, 12, 0, tzinfo=UTC))
    woken: int = 0

    def orders(self) -> Orders:
        """What people order."""
        return Orders(
            database=self.store.database,
            settings=self.config.redial.settings(),
            clock=lambda: self.now,
            systems=PhoneSystemsOfHub(config=lambda: self.config, sees=lambda _: True, clock_suspect=()),
        )

    def ordered(self) -> None:
        """Count what might be dialled."""
        self.woken += 1


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer, read."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def problem(self) -> str:
        """The last word of the problem's type."""
        return str(self.body["type"]).rpartition(":")[2]


@dataclass
class Client:
    """A client of the API."""

    url: str
    session: aiohttp.ClientSession
    peer: Peer

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = OPERATE,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answered:
        """Send a request; `path` is that below /api/v1, encoded."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            options["json"] = body
        target = URL(f"{self.url}{PREFIX}{path}", encoded=True)
        async with self.session.request(method, target, headers=sent, **options) as response:
            raw = await response.read()
            said = await response.json(content_type=None) if raw else None
            answered = Answered(status=response.status, body=said, headers=dict(response.headers))
        told(method, path, answered)
        return answered

    async def made(self, code: str, *numbers: str, source: str = "lagos", token: str = ADMIN, **said: Any) -> Any:
        """A case that was just made."""
        given = [{"number": number} for number in numbers or NUMBERS]
        body = {"code": code, "source": source, "numbers": given, "agent": f"agent of {code}"[:255], **said}
        answered = await self.ask("POST", "/cases", body, token=token)
        assert answered.status == 201, answered
        return answered.body

    async def dialled(self, code: str, **options: Any) -> Answered:
        """The answer to an order to dial."""
        return await self.ask("POST", f"/cases/{quote(code, safe='')}/dial", **options)


DOCUMENT = document(OPERATIONS, prefix=PREFIX)


def operation_at(method: str, path: str) -> Operation | None:
    """The operation that a request means."""
    for operation in OPERATIONS:
        pattern = re.sub(r"\{\w+\}", "[^/]+", operation.path)
        if operation.method == method and re.fullmatch(pattern, path.partition("?")[0]):
            return operation
    return None


def told(method: str, path: str, answered: Answered) -> None:
    """Fails for an answer that the OpenAPI document does not tell of."""
    operation = operation_at(method, path)
    if operation is None:
        return
    responses = DOCUMENT["paths"][PREFIX + operation.path][method.lower()]["responses"]
    assert str(answered.status) in responses, f"{operation.name} answered {answered.status}: {answered.body}"
    content = responses[str(answered.status)].get("content", {})
    assert ([answered.headers["Content-Type"].partition(";")[0]] if answered.body is not None else []) == list(content)
    for described in content.values():
        fits(answered.body, described["schema"])
    if answered.status >= 400:
        assert f"`{answered.body['type']}`" in responses[str(answered.status)]["description"]


def fits(value: Any, schema: Mapping[str, Any]) -> None:
    """Fails where the names in a JSON value are not those of its schema; leaves values to pydantic."""
    if "$ref" in schema:
        fits(value, DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    elif schema.get("type") == "array":
        for one in value:
            fits(one, schema["items"])
    elif "properties" in schema:
        assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"]), value
        for name, one in value.items():
            fits(one, schema["properties"][name])


@asynccontextmanager
async def serving(peer: Peer, *, tokens: bool = True) -> AsyncGenerator[Client]:
    """A client of a server that listens on a loopback port."""
    configured = peer.config.http.tokens if tokens else ()
    guard = Guard(
        tokens=[Token(name=t.name, token=t.token.get_secret_value(), role=t.role, tenant=t.tenant) for t in configured],
        trusted_proxies=(),
    )
    ready = type("Ready", (), {"problems": [], "taking": True})()
    app = make_app(routes=Routes(), metrics=Metrics(), guard=lambda: guard, readiness=ready, max_body=10 * MAX_BODY)
    add_api(app, served=peer, guard=lambda: guard)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, listening).start()
        async with aiohttp.ClientSession() as session:
            yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}", session, peer)
    finally:
        await runner.cleanup()


def configured(extra: str = "") -> Config:
    """The configuration of the tests, and `extra` tables."""
    return parse(CONFIG + extra, path=Path("/nowhere/cdrhub.toml"), environ={})
