"""The API in the application: one route for each operation, and problem details for everything else below /api/v1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web

from cdrhub.errors import CdrhubError
from cdrhub.redial.given import GivenCase
from cdrhub.redial.order_errors import NoSuchCase, NumberUnusable
from cdrhub.redial.transaction import transact
from cdrhub.store import request_keys
from cdrhub.store.engine import RacedError, RefusedError
from cdrhub.store.transaction import Transaction
from cdrhub.throttle import Throttle
from cdrhub.web.api import attempts, calls, cases, do_not_call, redial
from cdrhub.web.api.case_lookup import CaseLookup
from cdrhub.web.api.openapi import document
from cdrhub.web.api.operation import (
    IDEMPOTENCY_KEY,
    JSON,
    MAX_IDEMPOTENCY_KEY,
    PREFIX,
    Answer,
    Asked,
    Operation,
    Reading,
    Served,
    Within,
    Writing,
    asked,
)
from cdrhub.web.api.problems import NEVER_KEPT, Kind, Refused, refusal
from cdrhub.web.asker import CHALLENGE, asker
from cdrhub.web.auth import Guard, Holder
from cdrhub.web.live import PATH as FEED

log = structlog.get_logger(__name__)

OPENAPI = f"{PREFIX}/openapi.json"
REPLAYED = "Idempotent-Replayed"

OPERATIONS: tuple[Operation, ...] = (
    *cases.OPERATIONS,
    *attempts.OPERATIONS,
    *do_not_call.OPERATIONS,
    *redial.OPERATIONS,
    *calls.OPERATIONS,
)

_Answering = Callable[[web.Request, Holder], Awaitable[web.Response]]


def add_api(app: web.Application, *, served: Served, guard: Callable[[], Guard]) -> None:
    """Add the API to `app`. `guard` is asked at every request, for a reload may change the tokens."""
    api = _Api(served=served, guard=guard, lookup=CaseLookup(), throttle=Throttle())

    async def closing(_: web.Application) -> None:
        await api.lookup.close()

    app.on_cleanup.append(closing)

    async def openapi(_: web.Request, __: Holder) -> web.Response:
        return web.Response(body=written(), content_type=JSON, headers=NEVER_KEPT)

    async def nothing(_: web.Request, __: Holder) -> web.Response:
        raise Refused(Kind.NOT_FOUND, f"the API is described at {OPENAPI}")

    described = app.router.add_resource(OPENAPI)
    for method in (hdrs.METH_GET, hdrs.METH_HEAD):
        described.add_route(method, api.answering(openapi))
    described.add_route("*", api.answering(_not_allowed((hdrs.METH_GET, hdrs.METH_HEAD))))
    for path, several in groupby(sorted(OPERATIONS, key=lambda one: one.path), key=lambda one: one.path):
        # aiohttp's own pattern for a name leaves braces out.
        resource = app.router.add_resource(PREFIX + path.replace("}", ":[^/]+}"))
        methods: list[str] = []
        for operation in several:
            for method in (operation.method, *([hdrs.METH_HEAD] if operation.method == hdrs.METH_GET else [])):
                resource.add_route(method, api.answering(api.performing(operation)))
                methods.append(method)
        resource.add_route("*", api.answering(_not_allowed(methods)))
    app.router.add_route("*", FEED, api.answering(_not_allowed((hdrs.METH_GET,))))
    for path in (PREFIX, f"{PREFIX}/{{tail:.*}}"):
        app.router.add_route("*", path, api.answering(nothing))


@cache
def written() -> bytes:
    """The OpenAPI document of all operations."""
    return orjson.dumps(document(OPERATIONS, prefix=PREFIX))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Api:
    served: Served
    guard: Callable[[], Guard]
    lookup: CaseLookup
    throttle: Throttle

    def answering(self, answer: _Answering) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A handler that says who asks, and answers what goes wrong as a problem."""

        async def handler(request: web.Request) -> web.Response:
            try:
                holder = asker(request, self.guard())
                if holder is None:
                    raise Refused(Kind.TOKEN, "send Authorization: Bearer <token>", headers=CHALLENGE)
                return await answer(request, holder)
            except Refused as refused:
                return refused.response()
            except (CdrhubError, RacedError) as error:
                known = refusal(error)
                return known.response() if known is not None else self._failed(request, error)
            except web.HTTPException:
                raise
            except Exception as error:  # noqa: BLE001 - answered 500 and logged, with its traceback
                return self._failed(request, error)

        return handler

    def _failed(self, request: web.Request, error: Exception) -> web.Response:
        resource = request.match_info.route.resource
        where = resource.canonical if resource is not None else ""
        if self.throttle.allows(("failed", where)):
            log.error("a request failed", action="api_failed", method=request.method, path=where, exc_info=error)
        return Refused(Kind.INTERNAL, "the log of the daemon says more").response()

    def performing(self, operation: Operation) -> _Answering:
        """What carries `operation` out."""

        async def perform(request: web.Request, holder: Holder) -> web.Response:
            found, raw = await asked(operation, request, served=self.served, holder=holder)
            match operation:
                case Reading(perform=read):
                    return _response(await read(found))
                case Writing():
                    return await self._write(operation, request, found, raw)
            raise TypeError(f"{operation.name} neither looks nor changes")

        return perform

    async def _write(self, operation: Writing, request: web.Request, found: Asked, raw: bytes) -> web.Response:
        once = _Once.of(request, found, raw)
        try:
            response = await self._carried_out(operation, found, once)
        except NoSuchCase:
            if not operation.looks_up:
                raise
            given = await self.lookup.ask(found, code=found.path["code"])
            if given is None:
                raise
            response = await self._carried_out(operation, found, once, looked_up=given)
        self.served.ordered()
        log.info("an order was carried out", action="api_order", operation=operation.name, token=found.holder.name)
        return response

    async def _carried_out(
        self, operation: Writing, found: Asked, once: _Once | None, *, looked_up: GivenCase | None = None
    ) -> web.Response:
        async def work(tx: Transaction) -> web.Response:
            if once is not None and (before := await once.before(tx)) is not None:
                return before
            within = Within(connection=tx.connection, orders=self.served.orders().within(tx))
            if looked_up is not None:
                await _make(within, looked_up)
            answer = await operation.perform(found, within)
            if once is not None:
                await once.keep(tx, answer)
            return _response(answer)

        database = self.served.store.database
        try:
            return await transact(database, work)
        except RefusedError:
            if once is None:
                raise
            # Somebody took the same key at the same moment: by now his answer is there.
            return await transact(database, work)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Once:
    """A request with an Idempotency-Key."""

    key: str
    tenant: str
    digest: bytes

    @classmethod
    def of(cls, request: web.Request, found: Asked, raw: bytes) -> _Once | None:
        """None for a request without the header. Raises Refused."""
        given = request.headers.getall(IDEMPOTENCY_KEY, [])
        if not given:
            return None
        key = given[0].strip()
        # A blank would be lost or kept by one engine or the other; a quoted key is the draft's own spelling.
        if len(given) > 1 or not 0 < len(key) <= MAX_IDEMPOTENCY_KEY or not (key.isascii() and key.isprintable()):
            raise Refused(
                Kind.INVALID, f"{IDEMPOTENCY_KEY} must stand once and have 1 to {MAX_IDEMPOTENCY_KEY} ASCII characters"
            )
        digest = request_keys.digest_of(request.method.encode(), request.raw_path.encode(), raw)
        return cls(key=key, tenant=found.holder.tenant or "", digest=digest)

    async def before(self, tx: Transaction) -> web.Response | None:
        """The answer that the request got before; else the key is taken for this transaction."""
        kept = await request_keys.kept(tx.connection, self.key, tenant=self.tenant)
        if kept is None:
            now = datetime.now(UTC)
            await request_keys.take(tx.connection, self.key, tenant=self.tenant, digest=self.digest, at=now)
            return None
        if kept.digest != self.digest:
            raise Refused(Kind.KEY_REUSED, "send every new request with a key of its own")
        return _written(kept.status, kept.answer["body"], location=kept.answer["location"], headers={REPLAYED: "true"})

    async def keep(self, tx: Transaction, answer: Answer) -> None:
        """Keep the answer."""
        shown = {"body": _shown(answer), "location": answer.location}
        await request_keys.keep(tx.connection, self.key, tenant=self.tenant, status=answer.status, answer=shown)


async def _make(within: Within, looked_up: GivenCase) -> None:
    try:
        await within.orders.make(looked_up)  # a case that somebody kept meanwhile stays as it is
    except NumberUnusable as error:
        raise Refused(Kind.LOOKUP_FAILED, f"the CRM answered with a case that cannot be kept: {error}") from error


def _not_allowed(methods: list[str] | tuple[str, ...]) -> _Answering:
    allowed = ", ".join(methods)

    async def refuse(request: web.Request, _: Holder) -> web.Response:
        raise Refused(Kind.METHOD, f"{request.method[:20]} is not among {allowed}", headers={hdrs.ALLOW: allowed})

    return refuse


def _shown(answer: Answer) -> Any:
    return answer.body.model_dump(mode="json", by_alias=True) if answer.body is not None else None


def _response(answer: Answer) -> web.Response:
    return _written(answer.status, _shown(answer), location=answer.location)


def _written(
    status: int, body: Any, *, location: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    sent = {**NEVER_KEPT, **(headers or {})}
    if location is not None:
        sent[hdrs.LOCATION] = location
    if body is None:
        return web.Response(status=status, headers=sent)
    return web.Response(status=status, body=orjson.dumps(body), content_type=JSON, headers=sent)
