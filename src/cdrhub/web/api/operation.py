"""Operations of the API: what each asks for, who may, and one way through which all of them go.

Every request passes: who asks (401, 403), Host (without tokens: loopback by name), content type and length of the body,
its validation; then the operation. One that changes something is one transaction. With an `Idempotency-Key` that
transaction also keeps the answer, so that the same request sent again is carried out once and answered alike
(draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.config import Config, Role
from cdrhub.config.problems import nearest
from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.given import GivenNumber, read_numbers
from cdrhub.redial.order_errors import NumberUnusable
from cdrhub.redial.orders import Orders
from cdrhub.sources.base import SourceConfig
from cdrhub.sources.transports.request_body import Ending, receive
from cdrhub.sources.transports.unpacking import UNPACKED
from cdrhub.store import Store
from cdrhub.web.api.problems import Kind, Place, Refused, invalid
from cdrhub.web.api.texts import Code, Name
from cdrhub.web.auth import ON_LOOPBACK, Holder

MAX_BODY = 1024**2  #: bytes of a request's body
MAX_PAGE = 1_000  #: rows of one answer
IDEMPOTENCY_KEY = "Idempotency-Key"  #: name of the header
MAX_IDEMPOTENCY_KEY = 255  #: characters, of ASCII
MAX_CURSOR = 200  #: characters of `next`
PREFIX = "/api/v1"  #: where all paths begin
JSON = "application/json"
PATH_NAMES: Mapping[str, TypeAdapter[Any]] = {"code": TypeAdapter(Code), "id": TypeAdapter(UUID)}
"""What stands in a path at each name."""

_PATH_NAME = re.compile(r"\{(\w+)\}")


class Served(Protocol):
    """The hub as the API needs it."""

    @property
    def config(self) -> Config:
        """As it is at the moment."""

    @property
    def store(self) -> Store:
        """Where everything is kept."""

    def orders(self) -> Orders:
        """What people order, under the settings of the moment."""

    def ordered(self) -> None:
        """An order was carried out: there may be something to dial."""


class Query(BaseModel):
    """Names of a query string; an unknown one is refused, as is one that stands twice."""

    model_config = ConfigDict(extra="forbid")


class OfTenant(Query):
    """The tenant that is meant."""

    tenant: Name | None = Field(
        None, description="Which tenant, for a token that sees several; its own for all others."
    )


class Paged(OfTenant):
    """A page of a list."""

    limit: int = Field(100, ge=1, le=MAX_PAGE, description="Rows at most.")
    after: str | None = Field(None, max_length=MAX_CURSOR, description="`next` of the page before.")


def not_valid(name: str, detail: str) -> Refused:
    """What is answered to a name of the query that cannot be, or to what it says."""
    pointer = f"?{name[:64]}"
    return Refused(Kind.INVALID, f"{pointer}: {detail}", errors=[Place(pointer=pointer, detail=detail)])


def no_page(after: str) -> Refused:
    """What is answered to an `after` that is no `next`."""
    return not_valid("after", f"{after!r} is no page of this list")


class Body(BaseModel):
    """A JSON object; an unknown name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request, checked. `path` holds the values of the route's names."""

    served: Served
    holder: Holder
    path: Mapping[str, Any]
    query: Any
    body: Any

    @property
    def tenant(self) -> str | None:
        """The one tenant that this request sees; None: all. Raises Refused where another one is asked for."""
        wanted: str | None = getattr(self.query, "tenant", None)
        mine = self.holder.tenant
        if mine is not None and wanted not in (None, mine):
            raise Refused(Kind.FORBIDDEN, "the token is limited to another tenant")
        return mine if mine is not None else wanted

    @property
    def sources(self) -> Mapping[str, SourceConfig]:
        """The sources that this request may name."""
        tenant = self.tenant
        known = self.served.config.sources
        return {name: source for name, source in known.items() if tenant is None or source.tenant == tenant}

    def tenant_of(self, source: str, *, pointer: str) -> str:
        """The tenant of a source that the request names at `pointer`. Raises Refused, in the same words for a source
        that is not there and one that is another tenant's."""
        found = self.sources.get(source)
        if found is None:
            detail = f"there is no source {source!r}{nearest(source, self.sources)}"
        elif found.into is not None:
            detail = f"the records of {source!r} belong to the source {found.into!r}: name that one"
        else:
            return found.tenant
        raise Refused(Kind.INVALID, detail, errors=[Place(pointer=pointer, detail=detail)])

    def readings(self, number: str, *, source: str | None = None) -> frozenset[str]:
        """What `number` has in common with its other spellings, to this source or to each that may be named; nothing
        for what is no number to any of them."""
        sources = self.sources if source is None else {source} & self.sources.keys()
        plans = {self.served.config.number_plan(name) for name in sources}
        found: set[str] = set()
        for plan in plans or {NumberPlan()}:
            with suppress(NumberUnusable):
                found |= {read.key for read in read_numbers([GivenNumber(number=number)], plan)}
        return frozenset(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Within:
    """The transaction of an operation that changes something."""

    connection: AsyncConnection
    orders: Orders  #: which are a part of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is answered; no body: 204."""

    body: BaseModel | None = None
    status: int = 200
    location: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """What the API can do at one method and path (below PREFIX)."""

    name: str  #: operationId of OpenAPI
    method: str
    path: str
    tag: str
    summary: str
    role: Role
    answers: Mapping[int, type[BaseModel] | None]  #: status → its body
    query: type[Query] = OfTenant
    body: type[Body] | None = None
    problems: tuple[Kind, ...] = ()

    @property
    def path_names(self) -> Sequence[str]:
        """The names in its path, each of PATH_NAMES."""
        return _PATH_NAME.findall(self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Operation):
    """An operation that looks."""

    perform: Callable[[Asked], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Writing(Operation):
    """An operation that changes something, in one transaction. `looks_up`: a case that nobody knows is asked for."""

    perform: Callable[[Asked, Within], Awaitable[Answer]]
    looks_up: bool = False


async def asked(operation: Operation, request: web.Request, *, served: Served, holder: Holder) -> tuple[Asked, bytes]:
    """The request, checked, and its body as it came. Raises Refused."""
    if not holder.may(operation.role):
        has = "without tokens this machine may read only" if holder is ON_LOOPBACK else f"the token has {holder.role}"
        raise Refused(Kind.FORBIDDEN, f"this needs the role {operation.role}; {has} ([[http.tokens]])")
    path = _path(operation, request)
    query = _query(operation, request)
    raw, body = b"", None
    if operation.body is not None:
        raw = await _body(request)
        try:
            body = operation.body.model_validate(_parsed(raw))
        except ValidationError as error:
            raise invalid(error) from error
    found = Asked(served=served, holder=holder, path=path, query=query, body=body)
    found.tenant  # noqa: B018 - refuses another tenant's before anything is read
    return found, raw


def _path(operation: Operation, request: web.Request) -> dict[str, Any]:
    found = {}
    for name in operation.path_names:
        try:
            found[name] = PATH_NAMES[name].validate_python(request.match_info[name])
        except ValidationError as error:
            raise Refused(Kind.NOT_FOUND, f"this is no {name}") from error
    return found


def _query(operation: Operation, request: web.Request) -> Query:
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise not_valid(name, "stands twice")
        given[name] = value
    try:
        return operation.query.model_validate(given)
    except ValidationError as error:
        raise invalid(error, query=True) from error


async def _body(request: web.Request) -> bytes:
    if not request.can_read_body:
        return b""
    # A form or text is what a page of a browser can send without asking; JSON is not (Fetch, CORS-safelisted types).
    if request.content_type != JSON or (request.charset or "utf-8").lower() != "utf-8":
        raise Refused(Kind.MEDIA_TYPE, f"send Content-Type: {JSON}")
    received = await receive(request, max_bytes=MAX_BODY)
    match received.ending:
        case Ending.WHOLE:
            return received.body
        case Ending.TOO_LONG:
            raise Refused(Kind.TOO_LONG, f"{MAX_BODY} bytes at most", headers={hdrs.CONNECTION: "close"})
        case Ending.DAMAGED if received.packed_as:
            why = f"Content-Encoding may be {UNPACKED}, or not there"
            raise Refused(Kind.MEDIA_TYPE, why, headers={hdrs.ACCEPT_ENCODING: UNPACKED})
        case _:
            raise Refused(Kind.NOT_JSON, "the body did not arrive whole", headers={hdrs.CONNECTION: "close"})


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refused(Kind.NOT_JSON, f"not JSON: {error.msg} at byte {error.pos}") from error
