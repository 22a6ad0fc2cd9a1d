"""A call and its legs: what the fold makes of updates, column by column.

Every column of `calls` and `call_legs` that stems from the vendor's records is a field here; the hub's own (id,
source, record_count, received times, …) are added by the store. Times are aware, UTC. Seconds are whole seconds.
None means "not known" or "not derivable", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from typing import Any

from cdrhub.model.immutable import immutable


@immutable
class Leg:
    """One thing that happened to a call: an agent rung, a pass through a queue, an IVR, a transfer target."""

    leg_key: str  #: unique within the call
    seq: int  #: order within the call, from 1
    role: str  #: model.disposition.Role
    outcome: str  #: model.disposition.Outcome
    parent_leg: str | None = None
    number: str | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    agent_extension: str | None = None
    queue_id: str | None = None
    queue: str | None = None
    team: str | None = None
    offered_at: datetime | None = None  #: rung, or entered the queue
    answered_at: datetime | None = None
    left_at: datetime | None = None
    ring_seconds: int | None = None
    talk_seconds: int | None = None
    hold_seconds: int | None = None
    cause: str | None = None  #: the vendor's word


@immutable
class Call:
    """One telephone call as its system knows it."""

    call_key: str  #: the vendor's identity of the call
    linked_key: str | None = None  #: joins related calls (transfers)
    direction: str  #: model.disposition.Direction
    state: str  #: model.disposition.State
    disposition: str | None = None  #: model.disposition.Disposition; None until the call ended
    disposition_raw: str | None = None
    type_raw: str | None = None
    cause: str | None = None
    ended_by: str | None = None  #: model.disposition.EndedBy
    caller_number: str | None = None  #: as sent
    caller_name: str | None = None
    callee_number: str | None = None
    callee_name: str | None = None
    dialed_number: str | None = None
    did: str | None = None
    trunk: str | None = None
    caller_e164: str | None = None
    callee_e164: str | None = None
    external_number: str | None = None  #: the outside party in E.164
    agent_id: str | None = None  #: the first person of ours who answered
    agent_name: str | None = None
    agent_extension: str | None = None
    team: str | None = None
    queue: str | None = None
    queue_id: str | None = None
    campaign: str | None = None
    contact_ref: str | None = None  #: the integrator's own reference
    started_at: datetime | None = None  #: the call came to exist
    queued_at: datetime | None = None
    ringing_at: datetime | None = None
    connected_at: datetime | None = None  #: anything picked up
    answered_at: datetime | None = None  #: a person and the outside party were joined
    ended_at: datetime | None = None
    wait_seconds: int | None = None
    ring_seconds: int | None = None
    talk_seconds: int | None = None
    hold_seconds: int | None = None
    duration_seconds: int | None = None  #: ended_at - started_at
    recording_url: str | None = None
    recording_state: str | None = None  #: none, announced, verified, missing, erased
    cost: Decimal | None = None  #: in major units of `currency`
    currency: str | None = None  #: ISO 4217
    attributes: Mapping[str, Any] = field(default_factory=dict)  #: everything else the vendor sent
    flags: tuple[str, ...] = ()  #: sorted: conflict, end_inferred, time_ambiguous, …
    legs: tuple[Leg, ...] = ()
    final: bool = False  #: the vendor says no more of this call
    opened: bool = True  #: False: its updates so far make no call (update.opens); the store keeps no row for it

    @property
    def sort_at(self) -> datetime | None:
        """The moment by which calls are listed; None where no record holds any time of the call."""
        return self.started_at or self.queued_at or self.connected_at or self.answered_at or self.ended_at
