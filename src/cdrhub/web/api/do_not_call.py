"""The do-not-call lists, one of each tenant."""

from __future__ import annotations

from cdrhub.config import Role
from cdrhub.redial import queries
from cdrhub.redial.given import GivenDoNotCall
from cdrhub.web.api.operation import Answer, Asked, Operation, Reading, Within, Writing, no_page
from cdrhub.web.api.problems import Kind, Refused
from cdrhub.web.api.shapes import DoNotCallGiven, DoNotCallNamed, DoNotCallPage, DoNotCallQuery, DoNotCallShown

TAG = "Do not call"
_BETWEEN = "/"  #: the number and the tenant of a row, in `next`; a number has none


async def _listed(asked: Asked) -> Answer:
    query: DoNotCallQuery = asked.query
    after = None
    if query.after is not None:
        key, found, tenant = query.after.partition(_BETWEEN)
        if not found or "\0" in query.after:
            raise no_page(query.after)
        after = (key.replace(" ", "+"), tenant)  # a plus sign that was not percent-encoded arrives as a blank
    keys = asked.readings(query.number) if query.number is not None else None
    async with asked.served.store.database.connect() as connection:
        rows = await queries.do_not_call_list(
            connection, tenant=asked.tenant, keys=keys, after=after, limit=query.limit + 1
        )
    shown = [DoNotCallShown.model_validate(row) for row in rows[: query.limit]]
    last = f"{shown[-1].match_key}{_BETWEEN}{shown[-1].tenant}" if len(rows) > query.limit else None
    return Answer(body=DoNotCallPage(numbers=shown, next=last))


async def _forbidden(asked: Asked, within: Within) -> Answer:
    given: DoNotCallGiven = asked.body
    tenant = asked.tenant_of(given.read_as, pointer="/read_as")
    await within.orders.forbid(
        [
            GivenDoNotCall(
                number=given.number, tenant=tenant, region_of=given.read_as, source=given.source, until=given.until
            )
        ]
    )
    keys = asked.readings(given.number, source=given.read_as)
    (row,) = await queries.do_not_call_list(within.connection, tenant=tenant, keys=keys)
    return Answer(body=DoNotCallShown.model_validate(row))


async def _permitted(asked: Asked, within: Within) -> Answer:
    named: DoNotCallNamed = asked.query
    tenant = asked.tenant_of(named.read_as, pointer="?read_as")
    if not await within.orders.permit(tenant=tenant, number=named.number, region_of=named.read_as):
        raise Refused(Kind.NOT_FOUND, "the number is not on the list")
    return Answer(status=204)


OPERATIONS: tuple[Operation, ...] = (
    Reading(
        name="listDoNotCall",
        method="GET",
        path="/do-not-call",
        tag=TAG,
        summary="List the numbers that must not be called",
        role=Role.READ,
        query=DoNotCallQuery,
        answers={200: DoNotCallPage},
        perform=_listed,
    ),
    Writing(
        name="forbidNumber",
        method="POST",
        path="/do-not-call",
        tag=TAG,
        summary="Put a number on the list, or change until when; an entry that holds longer stands, and is answered",
        role=Role.OPERATE,
        body=DoNotCallGiven,
        answers={200: DoNotCallShown},
        problems=(Kind.NUMBER_UNUSABLE,),
        perform=_forbidden,
    ),
    Writing(
        name="permitNumber",
        method="DELETE",
        path="/do-not-call",
        tag=TAG,
        summary="Take a number off the list",
        role=Role.ADMIN,
        query=DoNotCallNamed,
        answers={204: None},
        problems=(Kind.NOT_FOUND, Kind.NUMBER_UNUSABLE),
        perform=_permitted,
    ),
)
