"""Which numbers and which agents are in a call, as far as the hub sees: those of living calls, and the numbers of calls
that ended and are not decided about yet.

Between the end of a call and the decision about it lie the `settle_seconds` of its source, or a backlog. Who was in it
is left alone meanwhile: it may be the call that reached them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    bindparam,
    false,
    literal_column,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Direction, Disposition, State
from cdrhub.model.numbers import spellings
from cdrhub.redial.announced import ANNOUNCED, NOT_ANNOUNCED
from cdrhub.redial.announcing import is_news
from cdrhub.store.one_of import OneFound, OneOf
from cdrhub.store.outbox import SETTLED
from cdrhub.store.tables import IS_OPEN, call_legs, calls, outbox

UNDECIDED = timedelta(hours=12)  #: that a call which ended waits for its decision at most: beyond that deciding fails
_NO_DIGITS = re.compile(r"\D+")
_SIDES: Mapping[str, Sequence[str]] = {Direction.INBOUND: ("caller",), Direction.OUTBOUND: ("callee",)}

_OF_ITS_AGENT = select(call_legs.c.call_id).where(
    call_legs.c.call_id == calls.c.id,
    or_(call_legs.c.agent_id == calls.c.agent_id, call_legs.c.agent_extension == calls.c.agent_extension),
)
#: The agent has left a call that goes on without them: every leg of theirs is over.
_AGENT_LEFT = and_(_OF_ITS_AGENT.exists(), not_(_OF_ITS_AGENT.where(call_legs.c.left_at.is_(None)).exists()))


_WITHOUT_DIRECTION = calls.c.direction.not_in([str(direction) for direction in _SIDES])
# The literal by which the index of these facts is found: most rows of the outbox were told long ago.
_TO_DECIDE = OneFound(calls.c.id, select(outbox.c.call_id).where(outbox.c.type == literal_column(f"'{SETTLED}'")))


def _query(of_number: ColumnElement[bool]) -> CompoundSelect[Any]:
    of_agent = or_(OneOf(calls.c.agent_id, "agents"), OneOf(calls.c.agent_extension, "agents"))
    concerned = or_(of_number, of_agent, _WITHOUT_DIRECTION)
    living = select(calls, ANNOUNCED, _AGENT_LEFT.label("agent_left")).where(IS_OPEN, concerned)
    ended = select(calls, ANNOUNCED, false().label("agent_left")).where(
        of_number,
        calls.c.sort_at > bindparam("since"),
        calls.c.state == State.ENDED,
        calls.c.last_received_at > bindparam("since"),
        or_(NOT_ANNOUNCED, calls.c.disposition == Disposition.ANSWERED),
    )
    # Of few, for they have no outside number by which they would be found.
    undirected = select(calls, ANNOUNCED, false().label("agent_left")).where(
        _TO_DECIDE, _WITHOUT_DIRECTION, calls.c.state == State.ENDED
    )
    return union_all(living, ended, undirected)


def _answered(of_number: ColumnElement[bool]) -> Select[Any]:
    return select(calls).where(
        of_number,
        calls.c.sort_at >= bindparam("since"),
        calls.c.state == State.ENDED,
        calls.c.disposition == Disposition.ANSWERED,
        calls.c.attempt_id.is_(None),
    )


_OF_NUMBER = OneOf(calls.c.external_number, "keys")
# Internal calls have no outside number at all.
_WITHOUT_FORM = or_(_OF_NUMBER, and_(calls.c.external_number.is_(None), calls.c.direction != Direction.INTERNAL))
_QUERY, _QUERY_WITHOUT_FORM = _query(_OF_NUMBER), _query(_WITHOUT_FORM)
_ANSWERED, _ANSWERED_WITHOUT_FORM = _answered(_OF_NUMBER), _answered(_WITHOUT_FORM)


@dataclass(frozen=True, kw_only=True, slots=True)
class InCall:
    """Who is in a call."""

    numbers: frozenset[tuple[str, str]] = frozenset()  #: (tenant, key of a number)
    agents: frozenset[tuple[str, str]] = frozenset()  #: (source, agent)


def number_keys(columns: Mapping[str, Any]) -> frozenset[str]:
    """The keys of the outside number of a row of `calls`: E.164, in each spelling, and the bare digits of one that has
    no such form. Of a call whose direction nobody knows, or that is taken for an internal one, either number may be the
    outside one. `00…` may lead abroad also where it was read as an outside line and a number of the country."""
    sides = _SIDES.get(columns["direction"], ("caller", "callee"))
    raw = [columns[f"{side}_number"] or (columns["dialed_number"] if side == "callee" else None) for side in sides]
    known = {columns["external_number"], *(columns[f"{side}_e164"] for side in sides)} - {None}
    digits = {_NO_DIGITS.sub("", each or "") for each in raw} - {""}
    abroad = {f"+{each.removeprefix('00')}" for each in digits if each.startswith("00")}
    return frozenset(digits.union(*map(spellings, known | abroad)))


async def in_call(
    connection: AsyncConnection,
    *,
    keys: Collection[str],
    agents: Collection[str] = (),
    now: datetime,
    decided: Collection[str] = (),
    reported: Collection[str] = (),
) -> InCall:
    """Which of these numbers and agents are in a call. `decided`: ids of the calls that this transaction decides;
    `reported`: of those whose attempts are over, so that one which ended and was never told has waited for a report."""
    # What has no E.164 form is compared here.
    query = _QUERY if _have_form(keys) else _QUERY_WITHOUT_FORM
    asked = {"keys": _spelt(keys), "agents": list(agents), "since": now - UNDECIDED}
    rows = [row._asdict() for row in await connection.execute(query, asked)]
    alive = [row for row in rows if row["state"] != State.ENDED]
    known = {row["id"] for row in rows if row["announced"] is None and row["id"] in reported}.union(decided)
    undecided = [row for row in rows if row["state"] == State.ENDED and row["id"] not in known and is_news(row)]
    return InCall(
        numbers=frozenset((row["tenant"], key) for row in (*alive, *undecided) for key in number_keys(row)),
        agents=frozenset(
            (row["source"], agent)
            for row in alive
            if not row["agent_left"]
            for agent in (row["agent_id"], row["agent_extension"])
            if agent
        ),
    )


async def conversations(
    connection: AsyncConnection, *, keys: Collection[str], since: datetime
) -> dict[tuple[str, str], datetime]:
    """(tenant, key of a number) → the end of the last answered call with it that began after `since` and belonged to no
    attempt. Only of numbers with an E.164 form: no index finds the others among the calls of a week."""
    talked: dict[tuple[str, str], datetime] = {}
    for row in await connection.execute(_ANSWERED, {"keys": _spelt(keys), "since": since}):
        columns = row._asdict()
        over = min(row.ended_at or row.last_received_at, row.last_received_at)
        for key in number_keys(columns):
            talked[row.tenant, key] = max(over, talked.get((row.tenant, key), over))
    return talked


async def answered_since(connection: AsyncConnection, *, tenant: str, keys: Collection[str], since: datetime) -> bool:
    """Whether somebody answered a call with one of these numbers that began since then and was of no attempt: to a case
    that was closed by then it meant nothing."""
    query = _ANSWERED if _have_form(keys) else _ANSWERED_WITHOUT_FORM
    rows = [row._asdict() for row in await connection.execute(query, {"keys": _spelt(keys), "since": since})]
    return any(row["tenant"] == tenant and not number_keys(row).isdisjoint(keys) for row in rows)


def _spelt(keys: Collection[str]) -> list[str]:
    """The keys in each spelling."""
    return sorted({each for key in keys for each in spellings(key)})


def _have_form(keys: Collection[str]) -> bool:
    return all(key.startswith("+") for key in keys)
