"""What the API answers when it cannot do what was asked: problem details (RFC 9457), with stable types.

Each type is a word below PREFIX; programs go by it, people read `title` and `detail`. Nothing that is answered shows a
secret, another tenant's row or a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from aiohttp import hdrs, web
from pydantic import BaseModel, Field, ValidationError

from cdrhub.errors import CdrhubError, NotFound, StoreUnavailable, UsageError
from cdrhub.redial.order_errors import AmbiguousCode, CaseBusy, NoSuchAttempt, NoSuchCase, NumberUnusable, OrderError
from cdrhub.store.engine import RacedError, RefusedError

PREFIX = "urn:cdrhub:problem:"
CONTENT_TYPE = "application/problem+json"
MAX_ERRORS = 50  #: places in one body that are named
NEVER_KEPT: Mapping[str, str] = {hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer: what is answered is about people, and is never a page."""


class Kind(Enum):
    """Every problem: its word, its status, its title."""

    TOKEN = ("token", 401, "A token is needed")
    FORBIDDEN = ("forbidden", 403, "The token may not do this")
    NOT_FOUND = ("not-found", 404, "There is nothing here")
    NO_SUCH_CASE = ("no-such-case", 404, "There is no such case")
    NO_SUCH_ATTEMPT = ("no-such-attempt", 404, "There is no such attempt")
    NO_SUCH_CALL = ("no-such-call", 404, "There is no such call")
    METHOD = ("method-not-allowed", 405, "This cannot be done here")
    CASE_EXISTS = ("case-exists", 409, "There is a case of that code")
    CASE_BUSY = ("case-busy", 409, "An attempt is live")
    AMBIGUOUS_CODE = ("ambiguous-code", 409, "Several tenants have that code")
    ORDER_REFUSED = ("order-refused", 409, "The order cannot be carried out now")
    CONFLICT = ("conflict", 409, "Somebody else was faster")
    TOO_LONG = ("too-long", 413, "The body is too long")
    MEDIA_TYPE = ("media-type", 415, "The body is not JSON")
    INVALID = ("invalid", 422, "The request is not valid")
    NUMBER_UNUSABLE = ("number-unusable", 422, "A text is no telephone number")
    KEY_REUSED = ("key-reused", 422, "The Idempotency-Key was used for another request")
    NOT_JSON = ("not-json", 400, "The body cannot be read")
    INTERNAL = ("internal", 500, "Something failed here")
    LOOKUP_FAILED = ("lookup-failed", 502, "The CRM could not be asked for the case")
    TOO_MANY_READERS = ("too-many-readers", 503, "The live feed has as many readers as it takes")
    UNAVAILABLE = ("unavailable", 503, "The database is away")

    def __init__(self, word: str, status: int, title: str) -> None:
        self.word = word
        self.status = status
        self.title = title


class Place(BaseModel):
    """One place of a request that is not valid."""

    pointer: str = Field(description="JSON pointer into the body (RFC 6901), or `?name` of the query.")
    detail: str = Field(description="What is wrong there.")


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(description="Stable name of the problem.")
    title: str = Field(description="The same for every problem of the type.")
    status: int = Field(description="Of HTTP.")
    detail: str = Field("", description="What happened this time.")
    errors: list[Place] = Field(default_factory=list, description="Places that are not valid.")


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        errors: Sequence[Place] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or kind.title)
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """What is answered."""
        problem = Problem(
            type=PREFIX + self.kind.word,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            errors=self.errors,
        )
        return web.Response(
            status=problem.status,
            body=problem.model_dump_json(exclude_defaults=True).encode(),
            content_type=CONTENT_TYPE,
            headers={**NEVER_KEPT, **self.headers},
        )


_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (NoSuchCase, Kind.NO_SUCH_CASE),
    (NoSuchAttempt, Kind.NO_SUCH_ATTEMPT),
    (CaseBusy, Kind.CASE_BUSY),
    (AmbiguousCode, Kind.AMBIGUOUS_CODE),
    (NumberUnusable, Kind.NUMBER_UNUSABLE),
    (OrderError, Kind.ORDER_REFUSED),
    (NotFound, Kind.NOT_FOUND),
    (UsageError, Kind.INVALID),
)


#: For a client's eyes, where pydantic speaks of its own: by its type of error.
_WORDS = {
    "dict_type": "must be an object",
    "extra_forbidden": "there is nothing of this name; what there is says /api/v1/openapi.json",
    "model_type": "must be an object",
}


def refusal(error: CdrhubError | RacedError) -> Refused | None:
    """What a known error is to a client; None for one that a client can do nothing about."""
    if isinstance(error, StoreUnavailable):
        # Not its own words: they name the server.
        return Refused(Kind.UNAVAILABLE, "nothing was changed; try again", headers={"Retry-After": "5"})
    if isinstance(error, RacedError | RefusedError):
        return Refused(Kind.CONFLICT, "nothing was changed; look, and try again")
    kind = next((kind for known, kind in _KINDS if isinstance(error, known)), None)
    return Refused(kind, str(error) or type(error).__doc__ or "") if kind is not None else None


def invalid(error: ValidationError, *, query: bool = False) -> Refused:
    """Which places of a request are not valid. The values themselves are not repeated."""
    places = [
        Place(
            pointer=_pointer(said["loc"], query=query),
            detail=_WORDS.get(said["type"]) or said["msg"].removeprefix("Value error, "),
        )
        for said in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]
    ]
    where = ", ".join(place.pointer or "the body" for place in places[:3])
    return Refused(Kind.INVALID, f"not valid: {where}", errors=places)


def _pointer(location: Sequence[Any], *, query: bool) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in location]
    if query:
        return "?" + ".".join(parts)
    return "".join(f"/{part}" for part in parts)
