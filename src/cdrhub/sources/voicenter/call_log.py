"""What the Call Log says of one Click2Call (https://www.voicenter.com/API/Call-Log). Pure.

The Call Log has what was pushed, some minutes after the call ended: it is asked where the push of a call did not come.
It knows nothing of a call that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cdrhub.model.dialling import Standing
from cdrhub.model.disposition import Disposition
from cdrhub.sources.voicenter.words import STATUSES, TYPES, CdrType, Part, folded

CLICK2CALL_TYPES: Final = (9, 10)
LOOKED_BACK: Final = timedelta(days=2)  #: a call is asked about at its deadline, some hours after it was ordered
_FIELDS: Final = ("CallID", "Type", "CdrType", "DialStatus")


def question(call_id: str, *, code: str, now: datetime) -> dict[str, Any]:
    """The request for the CDRs of one call; `now` is aware."""
    until = now.astimezone(UTC) + timedelta(hours=1)
    return {
        "code": code,
        "fields": list(_FIELDS),
        "search": {
            "fromdate": f"{until - LOOKED_BACK:%Y-%m-%dT%H:%M:%S}",  # GMT, unlike the time of a push
            "todate": f"{until:%Y-%m-%dT%H:%M:%S}",
            "callID": call_id,
            "cdrTypes": list(CLICK2CALL_TYPES),
        },
    }


def standing_of(answer: Mapping[str, Any], call_id: str) -> Standing:
    """What the answer says of the call. The customer's leg decides; without it, an unanswered leg of the agent means
    that the customer was not dialled. Nothing is known without either, by unknown words, or from an error."""
    found = _small(answer).get("cdr_list")
    rows = [_small(row) for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    outcomes: dict[Part, Disposition] = {}
    for row in rows:
        kind, status = _type(row), STATUSES.get(folded(str(row.get("dialstatus", ""))))
        if row.get("callid") == call_id and kind is not None and status is not None:
            outcomes[kind.part] = status.disposition
    if (customer := outcomes.get(Part.SECOND)) is not None:
        return Standing(outcome=customer)
    if outcomes.get(Part.OPENS, Disposition.ANSWERED) is not Disposition.ANSWERED:
        return Standing(outcome=Disposition.NOT_DIALLED)
    return Standing()


def _type(row: Mapping[str, Any]) -> CdrType | None:
    return TYPES.get(folded(str(row.get("cdrtype", "")))) or TYPES.get(folded(str(row.get("type", ""))))


def _small(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its keys in small letters, as real answers have them; the documentation mixes capitals in."""
    return {str(name).lower(): value for name, value in row.items()}
