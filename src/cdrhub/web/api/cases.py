"""Cases: kept, listed, dialled, announced, stopped, resumed, explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.config import Role
from cdrhub.redial import queries
from cdrhub.redial.decision import Decision
from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.web.api.operation import PREFIX, Answer, Asked, Operation, Reading, Within, Writing, no_page
from cdrhub.web.api.problems import Kind, Refused
from cdrhub.web.api.shapes import (
    Announced,
    AttemptAnnounced,
    AttemptShown,
    CaseChange,
    CaseGiven,
    CasePage,
    CaseQuery,
    CaseResumed,
    CaseShown,
    CaseStopped,
    CaseWithAttempts,
    DecisionKept,
    DecisionPage,
    DecisionQuery,
    DecisionShown,
    DialOrdered,
    Ordered,
)

TAG = "Cases"
_OF_A_CASE = (Kind.NO_SUCH_CASE, Kind.AMBIGUOUS_CODE)


def given_case(code: str, change: CaseChange, *, tenant: str) -> GivenCase:
    """A case as an order keeps it."""
    return GivenCase(
        code=code,
        tenant=tenant,
        source=change.source,
        numbers=[
            GivenNumber(number=one.number, label=one.label, do_not_call=one.do_not_call) for one in change.numbers
        ],
        agent=change.agent,
        campaign=change.campaign,
        timezone=change.timezone,
        metadata=change.metadata,
    )


async def whole_case(connection: AsyncConnection, case: Mapping[str, Any]) -> CaseWithAttempts:
    """A case of `queries`, with its attempts."""
    attempts = await queries.attempts_of(connection, case["id"])
    return CaseWithAttempts.model_validate(
        {**case, "attempts": [AttemptShown.model_validate(attempt) for attempt in attempts]}
    )


async def ordered(connection: AsyncConnection, decision: Decision, *, code: str, tenant: str) -> Answer:
    """What is answered to an order that led to a decision."""
    case = await queries.case_of(connection, code=code, tenant=tenant)
    return Answer(body=Ordered(decision=DecisionShown.of(decision), case=await whole_case(connection, case)))


async def _tenant(asked: Asked, connection: AsyncConnection) -> str:
    """The tenant of the case in the path. Raises NoSuchCase, AmbiguousCode."""
    case = await queries.case_of(connection, code=asked.path["code"], tenant=asked.tenant)
    tenant: str = case["tenant"]
    return tenant


async def _listed(asked: Asked) -> Answer:
    query: CaseQuery = asked.query
    before = None
    if query.after is not None:
        try:
            before = str(UUID(query.after))
        except ValueError as error:
            raise no_page(query.after) from error
    chosen = queries.CaseFilter(
        tenant=asked.tenant,
        state=query.state,
        reason=query.reason,
        source=query.source,
        agent=query.agent,
        campaign=query.campaign,
        keys=asked.readings(query.number, source=query.source) if query.number is not None else None,
    )
    async with asked.served.store.database.connect() as connection:
        rows = await queries.listed(connection, chosen, before=before, limit=query.limit + 1)
    if query.source is not None and not rows:
        asked.tenant_of(query.source, pointer="?source")
    shown = [CaseShown.model_validate(row) for row in rows[: query.limit]]
    return Answer(body=CasePage(cases=shown, next=shown[-1].id if len(rows) > query.limit else None))


async def _shown(asked: Asked) -> Answer:
    async with asked.served.store.database.connect() as connection:
        case = await queries.case_of(connection, code=asked.path["code"], tenant=asked.tenant)
        return Answer(body=await whole_case(connection, case))


async def _explained(asked: Asked) -> Answer:
    query: DecisionQuery = asked.query
    after = 0
    if query.after is not None:
        if not (query.after.isascii() and query.after.isdigit()) or int(query.after) >= 1 << 63:
            raise no_page(query.after)
        after = int(query.after)
    async with asked.served.store.database.connect() as connection:
        case = await queries.case_of(connection, code=asked.path["code"], tenant=asked.tenant)
        rows = await queries.decisions_of(connection, case["id"], after=after, limit=query.limit + 1)
    shown = [DecisionKept.of(row) for row in rows[: query.limit]]
    return Answer(body=DecisionPage(decisions=shown, next=str(shown[-1].id) if len(rows) > query.limit else None))


async def _made(asked: Asked, within: Within) -> Answer:
    given: CaseGiven = asked.body
    tenant = asked.tenant_of(given.source, pointer="/source")
    if not await within.orders.make(given_case(given.code, given, tenant=tenant)):
        raise Refused(Kind.CASE_EXISTS, f"there is a case {given.code!r}; PUT changes it")
    return await _kept(within, given.code, tenant=tenant, status=201)


async def _put(asked: Asked, within: Within) -> Answer:
    change: CaseChange = asked.body
    code: str = asked.path["code"]
    tenant = asked.tenant_of(change.source, pointer="/source")
    made, _ = await within.orders.keep([given_case(code, change, tenant=tenant)])
    return await _kept(within, code, tenant=tenant, status=201 if made else 200)


async def _kept(within: Within, code: str, *, tenant: str, status: int) -> Answer:
    case = await queries.case_of(within.connection, code=code, tenant=tenant)
    return Answer(
        body=await whole_case(within.connection, case), status=status, location=f"{PREFIX}/cases/{quote(code, safe='')}"
    )


async def _forgotten(asked: Asked, within: Within) -> Answer:
    await within.orders.forget(tenant=await _tenant(asked, within.connection), code=asked.path["code"])
    return Answer(status=204)


async def _dialled(asked: Asked, within: Within) -> Answer:
    order: DialOrdered = asked.body
    code: str = asked.path["code"]
    tenant = await _tenant(asked, within.connection)
    decision = await within.orders.dial(tenant=tenant, code=code, agent=order.agent, reference=order.reference)
    return await ordered(within.connection, decision, code=code, tenant=tenant)


async def _announced(asked: Asked, within: Within) -> Answer:
    said: AttemptAnnounced = asked.body
    tenant = await _tenant(asked, within.connection)
    attempt_id = await within.orders.announce(
        tenant=tenant, code=asked.path["code"], number=said.number, agent=said.agent, reference=said.reference
    )
    return Answer(body=Announced(attempt_id=attempt_id), status=201, location=f"{PREFIX}/attempts/{attempt_id}")


async def _stopped(asked: Asked, within: Within) -> Answer:
    code: str = asked.path["code"]
    tenant = await _tenant(asked, within.connection)
    await within.orders.stop(tenant=tenant, code=code, why=asked.body.why)
    case = await queries.case_of(within.connection, code=code, tenant=tenant)
    return Answer(body=await whole_case(within.connection, case))


async def _resumed(asked: Asked, within: Within) -> Answer:
    body: CaseResumed = asked.body
    code: str = asked.path["code"]
    tenant = await _tenant(asked, within.connection)
    decision = await within.orders.resume(tenant=tenant, code=code, not_reached=body.count_as is not None)
    return await ordered(within.connection, decision, code=code, tenant=tenant)


OPERATIONS: tuple[Operation, ...] = (
    Reading(
        name="listCases",
        method="GET",
        path="/cases",
        tag=TAG,
        summary="List cases, the newest first",
        role=Role.READ,
        query=CaseQuery,
        answers={200: CasePage},
        perform=_listed,
    ),
    Writing(
        name="makeCase",
        method="POST",
        path="/cases",
        tag=TAG,
        summary="Make a case",
        role=Role.OPERATE,
        body=CaseGiven,
        answers={201: CaseWithAttempts},
        problems=(Kind.CASE_EXISTS, Kind.NUMBER_UNUSABLE),
        perform=_made,
    ),
    Reading(
        name="showCase",
        method="GET",
        path="/cases/{code}",
        tag=TAG,
        summary="Show a case with its attempts",
        role=Role.READ,
        answers={200: CaseWithAttempts},
        problems=_OF_A_CASE,
        perform=_shown,
    ),
    Writing(
        name="putCase",
        method="PUT",
        path="/cases/{code}",
        tag=TAG,
        summary="Make a case, or change the one of that code; its attempts stay",
        role=Role.OPERATE,
        body=CaseChange,
        answers={200: CaseWithAttempts, 201: CaseWithAttempts},
        problems=(Kind.NUMBER_UNUSABLE,),
        perform=_put,
    ),
    Writing(
        name="deleteCase",
        method="DELETE",
        path="/cases/{code}",
        tag=TAG,
        summary="Delete a case; its attempts and decisions stay, and are its own again if it is made again",
        role=Role.OPERATE,
        answers={204: None},
        problems=(*_OF_A_CASE, Kind.CASE_BUSY),
        perform=_forgotten,
    ),
    Writing(
        name="dialCase",
        method="POST",
        path="/cases/{code}/dial",
        tag=TAG,
        summary="Open a round: dial the first number that the rules allow",
        role=Role.OPERATE,
        body=DialOrdered,
        answers={200: Ordered},
        problems=(*_OF_A_CASE, Kind.CASE_BUSY, Kind.ORDER_REFUSED, Kind.LOOKUP_FAILED),
        perform=_dialled,
        looks_up=True,
    ),
    Writing(
        name="announceAttempt",
        method="POST",
        path="/cases/{code}/attempts",
        tag=TAG,
        summary="Say that somebody else dials a number of the case now",
        role=Role.OPERATE,
        body=AttemptAnnounced,
        answers={201: Announced},
        problems=(*_OF_A_CASE, Kind.CASE_BUSY, Kind.ORDER_REFUSED, Kind.NUMBER_UNUSABLE, Kind.LOOKUP_FAILED),
        perform=_announced,
        looks_up=True,
    ),
    Writing(
        name="stopCase",
        method="POST",
        path="/cases/{code}/stop",
        tag=TAG,
        summary="Cancel a case and what is pending of it",
        role=Role.OPERATE,
        body=CaseStopped,
        answers={200: CaseWithAttempts},
        problems=_OF_A_CASE,
        perform=_stopped,
    ),
    Writing(
        name="resumeCase",
        method="POST",
        path="/cases/{code}/resume",
        tag=TAG,
        summary="Let a paused case go on",
        role=Role.OPERATE,
        body=CaseResumed,
        answers={200: Ordered},
        problems=(*_OF_A_CASE, Kind.ORDER_REFUSED),
        perform=_resumed,
    ),
    Reading(
        name="listDecisions",
        method="GET",
        path="/cases/{code}/decisions",
        tag=TAG,
        summary="List every decision about a case, also those that did nothing, the oldest first",
        role=Role.READ,
        query=DecisionQuery,
        answers={200: DecisionPage},
        problems=_OF_A_CASE,
        perform=_explained,
    ),
)
