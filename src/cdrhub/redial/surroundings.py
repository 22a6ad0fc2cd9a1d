"""What the rules must know beside a case, read in the transaction that decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, literal_column, null, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Disposition
from cdrhub.redial.case_rows import live_agent
from cdrhub.redial.given import kept_as
from cdrhub.redial.in_call import InCall, conversations, in_call
from cdrhub.redial.model import AttemptState, Case, may_ring
from cdrhub.redial.policy import HARD_STOP_PERIOD, Surroundings
from cdrhub.redial.reports import CALL_BACK
from cdrhub.redial.settings import Settings
from cdrhub.store.one_of import OneOf
from cdrhub.store.redial_tables import attempts, do_not_call, redial_decisions, redial_pauses

Tenant = str


_COLUMNS = (
    *("tenant", "match_key", "scope", "name", "case_id"),
    *("state", "outcome", "call_id", "asked_at", "until", "ended_at"),
)


def _said(kind: str, **columns: ColumnElement[Any]) -> Select[Any]:
    """Rows of one kind; columns of a union that it does not have are null."""
    named = (columns.get(name, null()).label(name) for name in _COLUMNS)
    return select(literal_column(f"'{kind}'").label("kind"), *named)


_SAID = union_all(
    _said(  # has all of the columns, and so tells their types
        "request",
        tenant=attempts.c.tenant,
        match_key=attempts.c.match_key,
        scope=attempts.c.source,
        name=attempts.c.agent,
        case_id=attempts.c.case_id,
        state=attempts.c.state,
        outcome=attempts.c.outcome,
        call_id=attempts.c.call_id,
        asked_at=attempts.c.requested_at,
        until=attempts.c.deadline_at,
        ended_at=attempts.c.ended_at,
    ).where(
        OneOf(attempts.c.match_key, "keys"),
        or_(attempts.c.requested_at > bindparam("since"), attempts.c.deadline_at > bindparam("now")),
    ),
    _said("ringing", scope=attempts.c.source, name=attempts.c.agent).where(
        attempts.c.state == AttemptState.SUPERSEDED,
        attempts.c.deadline_at > bindparam("now"),
        attempts.c.call_id.is_(None),
        OneOf(attempts.c.agent, "agents"),
    ),
    _said("live", name=attempts.c.live_agent, case_id=attempts.c.case_id).where(OneOf(attempts.c.live_agent, "live")),
    _said(
        "do_not_call", tenant=do_not_call.c.tenant, match_key=do_not_call.c.match_key, until=do_not_call.c.until
    ).where(OneOf(do_not_call.c.match_key, "keys"), OneOf(do_not_call.c.tenant, "tenants")),
    _said("asked_back", case_id=redial_decisions.c.case_id, asked_at=redial_decisions.c.at).where(
        OneOf(redial_decisions.c.case_id, "cases"), redial_decisions.c.rule == CALL_BACK
    ),
    _said("pause", scope=redial_pauses.c.scope, name=redial_pauses.c.name),
)
"""What attempts of any case say of these numbers (requested since then, or with a deadline to come) and of these agents
(`live`: their values of `attempts.live_agent`); which of the numbers must not be called; all pauses. Each kind is found
by an index of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request on a number, of whatever case."""

    case_id: str
    at: datetime
    ended_at: datetime | None = None
    may_ring: bool = True  #: nobody saw its call end
    dialled: bool = True  #: as far as anybody knows: not refused, nor the agent's telephone alone


@dataclass(slots=True)
class Known:
    """What was read, for all cases of one transaction."""

    now: datetime
    settings: Settings
    healthy: Callable[[str], bool]
    requests: dict[tuple[Tenant, str], list[Request]] = field(default_factory=lambda: defaultdict(list))
    do_not_call: dict[tuple[Tenant, str], datetime | None] = field(default_factory=dict)
    in_call: InCall = field(default_factory=InCall)
    talked: dict[tuple[Tenant, str], datetime] = field(default_factory=dict)
    ringing_agents: set[tuple[str, str]] = field(default_factory=set)
    """(source, agent) of superseded attempts that may ring: their unique key is free."""
    live_agents: dict[str, str] = field(default_factory=dict)
    asked_back: dict[str, datetime] = field(default_factory=dict)
    """Case id → when its person asked last to be called back."""
    pauses: set[tuple[str, str]] = field(default_factory=set)

    def around(self, case: Case) -> Surroundings:
        """The surroundings of one case."""
        keys = {number.key for number in case.numbers}
        asked = {key: self.requests.get((case.tenant, key), []) for key in keys}
        others = {key: [one for one in rows if one.case_id != case.id and one.dialled] for key, rows in asked.items()}
        return Surroundings(
            now=self.now,
            requests={key: [one.at for one in rows if one.dialled] for key, rows in asked.items()},
            do_not_call={
                key: self.do_not_call[case.tenant, key] for key in keys if (case.tenant, key) in self.do_not_call
            },
            held={
                key: max((one.ended_at or one.at) + self.settings.shared_hold for one in rows)
                for key, rows in others.items()
                if rows
            },
            in_call=frozenset(key for key in keys if (case.tenant, key) in self.in_call.numbers),
            requested=frozenset(key for key, rows in others.items() if any(one.may_ring for one in rows)),
            talked_at=self._talked_at(case),
            asked_back=self.asked_back.get(case.id),
            agent_busy=self._agent_busy(case),
            source_healthy=self.healthy(case.source),
            paused_by=self._paused_by(case),
        )

    def took(self, case: Case) -> None:
        """This transaction may have given the case's agent an attempt: no other case may get the same agent in it."""
        agent = live_agent(case.source, case.agent)
        if case.live_attempt is not None and agent is not None:
            self.live_agents[agent] = case.id

    def requested(self, case: Case, key: str) -> None:
        """This transaction requests a number for this case: no other case may get the same number in it."""
        for each in kept_as(key):
            self.requests[case.tenant, each].append(Request(case_id=case.id, at=self.now))

    def forbidden(self, tenant: Tenant, key: str, *, until: datetime | None) -> None:
        """A number must not be called; of several entries the one that holds longest."""
        before = self.do_not_call.setdefault((tenant, key), until)
        self.do_not_call[tenant, key] = None if before is None or until is None else max(before, until)

    def _talked_at(self, case: Case) -> datetime | None:
        """When somebody talked last with the person, since the case was made."""
        found = [at for number in case.numbers if (at := self.talked.get((case.tenant, number.key))) is not None]
        last = max(found, default=None)
        return None if last is None or (case.created_at is not None and last < case.created_at) else last

    def _agent_busy(self, case: Case) -> bool:
        key = live_agent(case.source, case.agent)
        if key is None:
            return False
        agent = (case.source, case.agent)
        busy = agent in self.in_call.agents or agent in self.ringing_agents
        return busy or self.live_agents.get(key, case.id) != case.id

    def _paused_by(self, case: Case) -> str:
        scopes = (("all", ""), ("source", case.source), ("campaign", case.campaign), ("agent", case.agent))
        found = next((scope for scope in scopes if scope in self.pauses), None)
        return " ".join(found).strip() if found else ""


async def gather(
    connection: AsyncConnection,
    cases: Collection[Case],
    *,
    now: datetime,
    settings: Settings,
    healthy: Callable[[str], bool],
) -> Known:
    """Read what the rules must know of these cases. `healthy` says whether a source sees its phone system."""
    known = await remembered(connection, cases, now=now, settings=settings, healthy=healthy)
    await look_at_calls(connection, known, cases)
    return known


async def remembered(
    connection: AsyncConnection,
    cases: Collection[Case],
    *,
    now: datetime,
    settings: Settings,
    healthy: Callable[[str], bool],
) -> Known:
    """What the rules must know of these cases, but for who is, or was, in a call."""
    known = Known(now=now, settings=settings, healthy=healthy)
    if not cases:
        return known
    known_as: dict[str, set[str]] = defaultdict(set)
    for number in _keys(cases):
        for each in kept_as(number):
            known_as[each].add(number)
    asked = {
        "keys": sorted(known_as),
        "since": now - max(HARD_STOP_PERIOD, settings.shared_hold),
        "now": now,
        "agents": _agents(cases),
        "live": sorted({key for case in cases if (key := live_agent(case.source, case.agent)) is not None}),
        "cases": sorted({case.id for case in cases}),
        "tenants": sorted({case.tenant for case in cases}),
    }
    for row in await connection.execute(_SAID, asked):
        match row.kind:
            case "request":
                ringing = may_ring(AttemptState(row.state), call_id=row.call_id, deadline_at=row.until, now=now)
                dialled = row.state != AttemptState.REFUSED and row.outcome != Disposition.NOT_DIALLED
                request = Request(
                    case_id=row.case_id, at=row.asked_at, ended_at=row.ended_at, may_ring=ringing, dialled=dialled
                )
                for number in known_as[row.match_key]:
                    known.requests[row.tenant, number].append(request)
            case "ringing":
                known.ringing_agents.add((row.scope, row.name))
            case "live":
                known.live_agents[row.name] = row.case_id
            case "do_not_call":
                for number in known_as[row.match_key]:
                    known.forbidden(row.tenant, number, until=row.until)
            case "asked_back":
                known.asked_back[row.case_id] = max(row.asked_at, known.asked_back.get(row.case_id, row.asked_at))
            case "pause":
                known.pauses.add((row.scope, row.name))
    return known


async def look_at_calls(
    connection: AsyncConnection, known: Known, cases: Collection[Case], *, decided: Collection[str] = ()
) -> None:
    """Who of these cases is in a call, and who was, where that is a reason to leave them alone. `decided`: ids of the
    calls about which this transaction decides."""
    if cases and (rest := known.settings.policy.contacted_cool_down) is not None:
        known.talked = await conversations(connection, keys=_keys(cases), since=known.now - rest)
    if cases:
        known.in_call = await in_call(
            connection,
            keys=_keys(cases),
            agents=_agents(cases),
            now=known.now,
            decided=decided,
            reported={one.call_id for case in cases for one in case.attempts if one.call_id and not one.live},
        )


def _keys(cases: Collection[Case]) -> list[str]:
    return sorted({number.key for case in cases for number in case.numbers})


def _agents(cases: Collection[Case]) -> list[str]:
    return sorted({case.agent for case in cases if case.agent})
