"""What the hub concludes of a Voicenter call: the customer's leg of a Click2Call that never was reported.

The first leg (our agent) is answered, or does not say whether it is, and the CDR of the second never comes: whether the
customer was reached is then unknown, and says so, instead of staying open for ever. Leg 2 outranks the conclusion
whenever it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cdrhub.model.call import Call
from cdrhub.model.disposition import Disposition, Outcome, Role, State
from cdrhub.model.inference import END_INFERRED, call_inference
from cdrhub.model.update import MIN_TIME
from cdrhub.sources.voicenter.words import TYPES, Part, folded

LEG2_WITHIN = timedelta(seconds=60)  #: after the arrival of such a leg 1

_SECOND = {"click2callleg1": "click2callleg2", "productivecallleg1": "productivecallleg2"}


def leg2_missing(call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
    """The inference that closes `call`, or None where there is nothing to conclude.

    `silent_for` is the time since the call's last record arrived, by the hub's clock. The inference depends on the call
    alone, so two hubs write the same bytes.
    """
    kind = TYPES.get(folded(call.type_raw or ""))
    if kind is None or kind.part is not Part.OPENS or call.state == State.ENDED or silent_for < LEG2_WITHIN:
        return None
    agent = next((leg for leg in call.legs if leg.leg_key == kind.key), None)
    ended = agent.left_at if agent is not None else None
    dialled = (agent.answered_at if agent is not None else None) or call.sort_at
    values: dict[str, Any] = {"state": State.ENDED.value, "disposition": Disposition.UNKNOWN.value}
    if ended is not None:
        values["ended_at"] = ended
    second: dict[str, Any] = {"role": Role.CUSTOMER.value, "outcome": Outcome.UNKNOWN.value}
    if dialled is not None:
        second["offered_at"] = dialled
    return call_inference(
        "leg2_missing",
        call.call_key,
        at=ended or dialled or MIN_TIME,
        values=values,
        legs=[{"leg_key": _SECOND[kind.key], "values": second}],
        flags=[END_INFERRED],
    )
