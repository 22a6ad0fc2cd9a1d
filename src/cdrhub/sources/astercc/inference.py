"""What the hub concludes of an asterCC call: its end, of which no event came.

Every event is pushed once, so a hang-up that fell into a restart or a broken link never comes. The call would stay open
for ever, and whoever waits for its end would too. Any event of asterCC outranks the conclusion, whenever it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cdrhub.model.call import Call
from cdrhub.model.disposition import Outcome, Role, State
from cdrhub.model.inference import END_INFERRED, call_inference
from cdrhub.model.update import MIN_TIME

_PARTIES = frozenset({Role.AGENT, Role.CUSTOMER})


def hangup_missing(call: Call, *, silent_for: timedelta, close_after: timedelta) -> Mapping[str, Any] | None:
    """The inference that closes `call`, or None where there is nothing to conclude.

    `silent_for` is the time since the call's last record arrived, by the hub's clock. When it ended is said only where
    a party who had answered is known to have left; else `ended_at` stays null, and so do the seconds until then. The
    inference depends on the call alone, so two hubs write the same bytes.
    """
    if call.state == State.ENDED or silent_for < close_after:
        return None
    left = [
        leg.left_at
        for leg in call.legs
        if leg.role in _PARTIES and leg.outcome == Outcome.ANSWERED and leg.left_at is not None
    ]
    seen = [moment for leg in call.legs for moment in (leg.offered_at, leg.answered_at, leg.left_at)]
    last = max((moment for moment in (call.sort_at, *seen) if moment is not None), default=MIN_TIME)
    values: dict[str, Any] = {"state": State.ENDED.value}
    if left:
        values["ended_at"] = max(left)
    return call_inference("hangup_missing", call.call_key, at=last, values=values, flags=[END_INFERRED])
