"""What the rules say of each number of a case at this moment: for people who ask why nothing rings.

Read without locks, and outside the daemon: whether a source sees its phone system is not known here, so that rule is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.redial import case_rows
from cdrhub.redial.model import Attempt, Case, Number
from cdrhub.redial.policy import Objection, objection
from cdrhub.redial.settings import Settings
from cdrhub.redial.surroundings import gather


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """One number: its last attempt of the present round, whether that counts as tried, and the first rule that objects
    to dialling it now."""

    number: Number
    last: Attempt | None
    tried: bool
    objection: Objection | None


async def outlook(
    connection: AsyncConnection, case_id: str, *, settings: Settings, now: datetime
) -> tuple[Case, Sequence[Outlook]]:
    """The case of that id, and its numbers in their order. A closed case is looked at as if it were ordered anew."""
    case = (await case_rows.read(connection, [case_id]))[case_id]
    known = await gather(connection, [case], now=now, settings=settings, healthy=lambda _source: True)
    around = known.around(case)
    found = []
    for number in case.numbers:
        of_round = [attempt for attempt in case.of_round() if attempt.number_key == number.key]
        found.append(
            Outlook(
                number=number,
                last=of_round[-1] if of_round else None,
                tried=any(attempt.tried for attempt in of_round),
                objection=objection(case, number, settings.policy, around),
            )
        )
    return case, found
