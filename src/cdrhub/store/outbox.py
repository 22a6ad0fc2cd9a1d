"""Facts: what became true of a call, written in the transaction that made it so.

`call.started` and `call.answered` are of a living call and carry its public columns as they were then. Every write of
an ended call leaves one internal `call.settled` without them: it is due at once if the vendor's last record is in,
else when `settle_seconds` have passed. Whoever takes it looks the call up; if the call has a newer revision by then,
that revision's own fact decides. So a call that is told in one record costs one small row.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import orjson

from cdrhub.model.call import Call
from cdrhub.model.disposition import State
from cdrhub.store.batch import Item
from cdrhub.store.rows import FOLDED_COLUMNS, Row, folded_values

STARTED = "call.started"
ANSWERED = "call.answered"
SETTLED = "call.settled"

_BEFORE_ANSWER = (State.QUEUED, State.RINGING)


def facts(
    call: Call, *, call_id: str, item: Item, revision: int, before: str | None, now: datetime, settle_seconds: float
) -> list[Row]:
    """The rows of `outbox` for a call that was just written. `before` is the state that it had, None if it is new;
    `item` any of its records."""
    if call.state == State.ENDED:
        due = now if call.final else now + timedelta(seconds=settle_seconds)
        return [(call_id, item.owner, SETTLED, revision, due, None)]
    types = []
    if before is None:
        types.append(STARTED)
    if call.state == State.ANSWERED and (before is None or before in _BEFORE_ANSWER):
        types.append(ANSWERED)
    if not types:
        return []
    told = snapshot(call, call_id=call_id, item=item)
    return [(call_id, item.owner, kind, revision, now, told) for kind in types]


def snapshot(call: Call, *, call_id: str, item: Item) -> str:
    """The public columns of a call as JSON."""
    values = dict(zip(FOLDED_COLUMNS, folded_values(call), strict=True))
    values |= {
        "id": call_id,
        "source": item.owner,
        "system": item.system,
        "tenant": item.tenant,
        "call_key": call.call_key,
        "attributes": call.attributes,
        "flags": call.flags,
    }
    return orjson.dumps(values, default=str).decode()
