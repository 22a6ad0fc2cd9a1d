"""What is concluded of calls that stay open: by their system where it has a rule, else by forgetting them.

Pure. A conclusion is a record like any other (model/inference.py), with bytes that depend on the call alone, so that
two hubs write the same one, and with an authority that any record of the vendor outranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

from cdrhub.model.call import Call
from cdrhub.model.disposition import State
from cdrhub.model.update import MIN_TIME
from cdrhub.sources.base import SourceConfig, System

FORGOTTEN_AFTER = timedelta(hours=12)  #: without any record an open call is taken for one whose end was not seen


def conclusion(system: System, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
    """The inference about `call`, or None while there is nothing to conclude.

    `silent_for` is the time since the call's last record arrived, by the hub's clock.
    """
    return system.conclude(config, call, silent_for=silent_for) or forgotten(call, silent_for=silent_for)


def forgotten(call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
    """The same where there is no system to ask: the call's source was taken out of the configuration."""
    if silent_for < FORGOTTEN_AFTER:
        return None
    last = max((at for at in _moments(call) if at is not None), default=MIN_TIME)
    return {
        "infers": "call",
        "kind": "forgotten",
        "call_key": call.call_key,
        "at": last.astimezone(UTC).isoformat(),
        "values": {"state": State.ENDED.value},
        "flags": ["end_inferred"],
    }


def _moments(call: Call) -> list[Any]:
    own = [call.started_at, call.queued_at, call.ringing_at, call.connected_at, call.answered_at]
    return own + [at for leg in call.legs for at in (leg.offered_at, leg.answered_at, leg.left_at)]
