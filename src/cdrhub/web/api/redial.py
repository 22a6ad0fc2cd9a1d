"""Redial as a whole: how it stands, paused, going on.

A pause holds every tenant's cases, but for the pause of a source, which is one tenant's. So a token that is limited to
a tenant orders pauses of that tenant's sources only; it sees these and the pause of everything, which holds it as well.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.config import Role
from cdrhub.redial import queries
from cdrhub.web.api.operation import Answer, Asked, Operation, Reading, Within, Writing
from cdrhub.web.api.problems import Kind, Place, Refused
from cdrhub.web.api.shapes import PauseEnded, PauseOrdered, PauseShown, RedialShown, Scope

TAG = "Redial"


async def _standing(asked: Asked, connection: AsyncConnection) -> Answer:
    def seen(row: dict[str, Any]) -> bool:
        if asked.tenant is None or row["scope"] == Scope.ALL:
            return True
        return row["scope"] == Scope.SOURCE and row["name"] in asked.sources

    pauses = [PauseShown.model_validate(row) for row in await queries.pauses(connection) if seen(row)]
    return Answer(body=RedialShown(mode=asked.served.config.redial.mode, pauses=pauses))


async def _shown(asked: Asked) -> Answer:
    async with asked.served.store.database.connect() as connection:
        return await _standing(asked, connection)


def _check(asked: Asked) -> None:
    """Whether what is named can be paused by who asks. Raises Refused."""
    named: PauseEnded = asked.body
    if named.scope is Scope.SOURCE:
        asked.tenant_of(named.name, pointer="/name")
    elif asked.holder.tenant is not None:
        raise Refused(Kind.FORBIDDEN, "a token that is limited to a tenant pauses sources only")
    elif bool(named.name) is (named.scope is Scope.ALL):
        said = "must be empty for `all`" if named.name else f"which {named.scope} is meant?"
        raise Refused(Kind.INVALID, said, errors=[Place(pointer="/name", detail=said)])


async def _paused(asked: Asked, within: Within) -> Answer:
    order: PauseOrdered = asked.body
    _check(asked)
    await within.orders.pause(scope=order.scope, name=order.name, actor=asked.holder.name, why=order.why)
    return await _standing(asked, within.connection)


async def _resumed(asked: Asked, within: Within) -> Answer:
    order: PauseEnded = asked.body
    _check(asked)
    if not await within.orders.unpause(scope=order.scope, name=order.name):
        raise Refused(Kind.NOT_FOUND, "there is no such pause")
    return await _standing(asked, within.connection)


OPERATIONS: tuple[Operation, ...] = (
    Reading(
        name="showRedial",
        method="GET",
        path="/redial",
        tag=TAG,
        summary="Show the mode and what is paused",
        role=Role.READ,
        answers={200: RedialShown},
        perform=_shown,
    ),
    Writing(
        name="pauseRedial",
        method="POST",
        path="/redial/pause",
        tag=TAG,
        summary="Dial nothing more, or nothing of a source, a campaign or an agent",
        role=Role.OPERATE,
        body=PauseOrdered,
        answers={200: RedialShown},
        perform=_paused,
    ),
    Writing(
        name="resumeRedial",
        method="POST",
        path="/redial/resume",
        tag=TAG,
        summary="Take a pause back",
        role=Role.OPERATE,
        body=PauseEnded,
        answers={200: RedialShown},
        problems=(Kind.NOT_FOUND,),
        perform=_resumed,
    ),
)
