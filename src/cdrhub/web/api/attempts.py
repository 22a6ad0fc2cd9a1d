"""Attempts: shown, and what a person reports of one."""

from __future__ import annotations

from cdrhub.config import Role
from cdrhub.redial import queries
from cdrhub.redial.order_errors import NoSuchAttempt
from cdrhub.web.api.cases import ordered
from cdrhub.web.api.operation import Answer, Asked, Operation, Reading, Within, Writing
from cdrhub.web.api.problems import Kind
from cdrhub.web.api.shapes import AttemptWithCase, Ordered, ResultReported

TAG = "Attempts"


async def _shown(asked: Asked) -> Answer:
    async with asked.served.store.database.connect() as connection:
        row = await queries.attempt(connection, str(asked.path["id"]), tenant=asked.tenant)
    return Answer(body=AttemptWithCase.model_validate(row))


async def _reported(asked: Asked, within: Within) -> Answer:
    said: ResultReported = asked.body
    row = await queries.attempt(within.connection, str(asked.path["id"]), tenant=asked.tenant)
    if row["case_code"] is None:
        deleted = f"the case of attempt {row['id']!r} was deleted"
        raise NoSuchAttempt(f"{deleted}: a number that must not be called is told by POST /do-not-call")
    decision = await within.orders.report(tenant=row["tenant"], attempt_id=row["id"], result=said.result, at=said.at)
    return await ordered(within.connection, decision, code=row["case_code"], tenant=row["tenant"])


OPERATIONS: tuple[Operation, ...] = (
    Reading(
        name="showAttempt",
        method="GET",
        path="/attempts/{id}",
        tag=TAG,
        summary="Show an attempt",
        role=Role.READ,
        answers={200: AttemptWithCase},
        problems=(Kind.NO_SUCH_ATTEMPT,),
        perform=_shown,
    ),
    Writing(
        name="reportResult",
        method="POST",
        path="/attempts/{id}/result",
        tag=TAG,
        summary="Say what became of an attempt",
        role=Role.OPERATE,
        body=ResultReported,
        answers={200: Ordered},
        problems=(Kind.NO_SUCH_ATTEMPT, Kind.ORDER_REFUSED),
        perform=_reported,
    ),
)
