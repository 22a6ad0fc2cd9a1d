"""Which attempt was this call? Pure.

By the reference that the vendor carries back; else by source, agent, number and the moment at which the call *started*,
so that a long call matches as well as a short one. An outbound call of a case's agent to one of its numbers outside of
every attempt is the agent's own.

Two systems may carry one call, a trunk in front of a switch: any of them may say that the person was reached, only the
attempt's own source that they were not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cdrhub.model.disposition import Direction
from cdrhub.redial.model import Attempt, AttemptState

EARLY = timedelta(seconds=30)  #: a call may seem to start before its request: two clocks
LATE = timedelta(seconds=180)  #: `match_start_seconds` by default
VENDOR_REF_LATE = timedelta(days=1)  #: a vendor's own numbers begin again: what it called an order holds so long

_UUID_IN_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_OVER = frozenset({AttemptState.CANCELLED, AttemptState.REFUSED, AttemptState.DECIDED})
"""States in which nothing was asked for that could have become a call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFacts:
    """What of a call tells whose it is. Times are aware, UTC."""

    source: str
    direction: Direction
    started_at: datetime | None
    keys: frozenset[str]  #: of the outside number: E.164 and bare digits
    agents: frozenset[str]  #: agent_id and agent_extension, without empty ones
    references: Sequence[str] = ()  #: texts in which the vendor may carry our reference: keys, custom fields
    reached: bool = False  #: a person on the customer's side answered


def uuids_in(text: str) -> list[str]:
    """Every UUID that stands in a text, as it is written there: our references may be part of a longer field."""
    return _UUID_IN_TEXT.findall(text)


def by_reference(call: CallFacts, attempts: Iterable[Attempt]) -> Attempt | None:
    """The attempt whose id, or whose vendor's own id, the call carries. A call that came in is no attempt, whatever it
    carries: a transfer, or a call back, may keep the variables of the call before it."""
    if call.direction is Direction.INBOUND:
        return None
    references = {text.lower() for text in call.references if text}
    references |= {found.lower() for text in call.references for found in uuids_in(text)}
    return next((attempt for attempt in attempts if _names(call, references, attempt)), None)


def _names(call: CallFacts, references: Collection[str], attempt: Attempt) -> bool:
    if attempt.id.lower() in references:
        return call.reached or attempt.source == call.source
    if not attempt.vendor_ref or attempt.vendor_ref.lower() not in references or attempt.source != call.source:
        return False
    asked, started_at = attempt.requested_at, call.started_at
    return asked is None or started_at is None or asked - EARLY <= started_at <= asked + VENDOR_REF_LATE


def by_window(call: CallFacts, attempts: Iterable[Attempt], *, late: timedelta = LATE) -> Attempt | None:
    """The attempt that the call's source, agent, number and start fit: the one asked for nearest to its start, for a
    phone system's clock is another one and often tells whole seconds."""
    started_at = call.started_at
    if call.direction is not Direction.OUTBOUND or started_at is None:
        return None
    fitting = [
        (abs(started_at - attempt.requested_at), attempt.requested_at, attempt.id, attempt)
        for attempt in attempts
        if attempt.requested_at is not None and _fits(call, started_at, attempt, late=late)
    ]
    return min(fitting)[-1] if fitting else None


def is_of_a_refusal(call: CallFacts, attempts: Iterable[Attempt]) -> bool:
    """Whether the call may be what a phone system wrote down of an order that it refused (3CX): it began before the
    refusal was heard, so that it is no call by which the agent tried it again."""
    started_at = call.started_at
    return started_at is not None and any(
        attempt.state is AttemptState.REFUSED
        and attempt.requested_at is not None
        and attempt.ended_at is not None
        and _is_of(call, attempt)
        and attempt.requested_at - EARLY <= started_at <= attempt.ended_at
        for attempt in attempts
    )


def _fits(call: CallFacts, started_at: datetime, attempt: Attempt, *, late: timedelta) -> bool:
    asked = attempt.requested_at
    if asked is None or attempt.state in _OVER or not _is_of(call, attempt):
        return False
    return asked - EARLY <= started_at <= asked + late


def _is_of(call: CallFacts, attempt: Attempt) -> bool:
    """Whether source, number and agent, where it is known, are those of the attempt."""
    if attempt.source != call.source or attempt.key not in call.keys:
        return False
    return not call.agents or not attempt.agent or attempt.agent in call.agents
