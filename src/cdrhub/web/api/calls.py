"""Calls: listed, and one with its legs."""

from __future__ import annotations

from cdrhub.config import Role
from cdrhub.errors import UsageError
from cdrhub.store.calls import CallFilter, Cursor, legs_of, listed
from cdrhub.web.api.operation import Answer, Asked, Operation, Reading, no_page
from cdrhub.web.api.problems import Kind, Refused
from cdrhub.web.api.shapes import CallPage, CallQuery, CallShown, CallWithLegs, LegShown

TAG = "Calls"


async def _listed(asked: Asked) -> Answer:
    query: CallQuery = asked.query
    try:
        after = Cursor.parse(query.after) if query.after is not None else None
    except UsageError as error:
        raise no_page(query.after or "") from error
    chosen = CallFilter(
        since=query.since,
        until=query.until,
        source=query.source,
        tenant=asked.tenant,
        queue=query.queue,
        agent=query.agent,
        number=query.number,
        readings=_e164(asked, query),
        disposition=query.disposition,
        direction=query.direction,
        state=query.state,
    )
    page = await listed(asked.served.store, chosen, after=after, limit=query.limit)
    if query.source is not None and not page.rows:  # of one that was taken out of the configuration there may be some
        asked.tenant_of(query.source, pointer="?source")
    return Answer(
        body=CallPage(
            calls=[CallShown.model_validate(row) for row in page.rows],
            next=str(page.next) if page.next is not None else None,
        )
    )


def _e164(asked: Asked, query: CallQuery) -> frozenset[str]:
    if query.number is None:
        return frozenset()
    return frozenset(reading for reading in asked.readings(query.number, source=query.source) if reading[0] == "+")


async def _shown(asked: Asked) -> Answer:
    store, call_id = asked.served.store, str(asked.path["id"])
    page = await listed(store, CallFilter(id=call_id, tenant=asked.tenant, withdrawn=True), limit=2)
    call = next((row for row in page.rows if row["id"] == call_id), None)
    if call is None:
        raise Refused(Kind.NO_SUCH_CALL, f"there is no call {call_id!r}")
    legs = await legs_of(store, call_id)
    return Answer(
        body=CallWithLegs(call=CallShown.model_validate(call), legs=[LegShown.model_validate(leg) for leg in legs])
    )


OPERATIONS: tuple[Operation, ...] = (
    Reading(
        name="listCalls",
        method="GET",
        path="/calls",
        tag=TAG,
        summary="List calls, the newest first",
        role=Role.READ,
        query=CallQuery,
        answers={200: CallPage},
        perform=_listed,
    ),
    Reading(
        name="showCall",
        method="GET",
        path="/calls/{id}",
        tag=TAG,
        summary="Show a call with its legs",
        role=Role.READ,
        answers={200: CallWithLegs},
        problems=(Kind.NO_SUCH_CALL,),
        perform=_shown,
    ),
)
