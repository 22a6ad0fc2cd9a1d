"""The end of a queue call that no record tells.

A call that leaves its queue by TIMEOUT, EXIT_WITH_KEY or a transfer lives on with the caller's channel. Its end is
CHANNEL_HANGUP_COMPLETE, a CDR, or what the switch answers when it is asked (`reconcile.py`). Where none of these told
anything for half a day, the hub infers the end of the queue as the end of the call; the record of that inference yields
to any record of the switch, and its flag `end_inferred` goes with it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cdrhub.model.call import Call
from cdrhub.model.disposition import Role, State
from cdrhub.model.inference import END_INFERRED, call_inference

UNHEARD_OF = timedelta(hours=12)  #: without a record: that the channel lives is one, every few hours


def provisional_end(call: Call) -> dict[str, Any] | None:
    """The inference (model/inference.py) that ends `call` when it left its last queue.

    None while there is nothing to infer: the call has an end, was in no queue, or a leg of it is still open.
    """
    if call.state in (State.ENDED, State.WITHDRAWN) or not any(leg.role == Role.QUEUE for leg in call.legs):
        return None
    at = last_left(call)
    if at is None:
        return None
    values = {"state": State.ENDED.value, "ended_at": at}
    return call_inference("queue_end", call.call_key, at=at, values=values, flags=[END_INFERRED])


def last_left(call: Call) -> datetime | None:
    """When the last leg of `call` was left (aware); None where a leg is open, or there is none."""
    left = [leg.left_at for leg in call.legs]
    closed = [at for at in left if at is not None]
    return max(closed) if closed and len(closed) == len(left) else None
