"""What the rules must know beside a case, read in the transaction that decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.redial.cases import attempt_of, live_agent
from cdrhub.redial.in_call import InCall, in_call
from cdrhub.redial.model import AttemptState, Case
from cdrhub.redial.policy import HARD_STOP_PERIOD, Surroundings
from cdrhub.store.one_of import OneOf
from cdrhub.store.redial_tables import attempts, do_not_call, redial_pauses

Tenant = str


def _of_kind(kind: str) -> Select[Any]:
    return select(literal_column(f"'{kind}'").label("kind"), attempts)


_ATTEMPTS = union_all(
    _of_kind("request").where(OneOf(attempts.c.match_key, "keys"), attempts.c.requested_at > bindparam("since")),
    _of_kind("ringing").where(
        attempts.c.state == AttemptState.SUPERSEDED,
        attempts.c.deadline_at > bindparam("now"),
        attempts.c.call_id.is_(None),
        OneOf(attempts.c.agent, "agents"),
    ),
    _of_kind("live").where(OneOf(attempts.c.live_agent, "live")),
)
_VERDICTS = select(do_not_call.c.tenant, do_not_call.c.match_key, do_not_call.c.until).where(
    OneOf(do_not_call.c.match_key, "keys"), OneOf(do_not_call.c.tenant, "tenants")
)
_PAUSES = select(redial_pauses.c.scope, redial_pauses.c.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request on a number, of whatever case."""

    case_id: str
    at: datetime
    ended_at: datetime | None = None
    may_ring: bool = True  #: nobody saw its call end


@dataclass(slots=True)
class Known:
    """What was read, for all cases of one transaction."""

    now: datetime
    shared_hold: timedelta
    healthy: Callable[[str], bool]
    requests: dict[tuple[Tenant, str], list[Request]] = field(default_factory=lambda: defaultdict(list))
    verdicts: dict[tuple[Tenant, str], datetime | None] = field(default_factory=dict)
    in_call: InCall = field(default_factory=InCall)
    ringing_agents: set[tuple[str, str]] = field(default_factory=set)
    """(source, agent) of superseded attempts that may ring: their unique key is free."""
    live_agents: dict[str, str] = field(default_factory=dict)
    pauses: set[tuple[str, str]] = field(default_factory=set)

    def around(self, case: Case) -> Surroundings:
        """The surroundings of one case."""
        keys = {number.key for number in case.numbers}
        asked = {key: self.requests.get((case.tenant, key), []) for key in keys}
        others = {key: [one for one in rows if one.case_id != case.id] for key, rows in asked.items()}
        return Surroundings(
            now=self.now,
            requests={key: [one.at for one in rows] for key, rows in asked.items()},
            do_not_call={key: self.verdicts[case.tenant, key] for key in keys if (case.tenant, key) in self.verdicts},
            held={
                key: max((one.ended_at or one.at) + self.shared_hold for one in rows)
                for key, rows in others.items()
                if rows
            },
            in_call=frozenset(key for key in keys if (case.tenant, key) in self.in_call.numbers),
            requested=frozenset(key for key, rows in others.items() if any(one.may_ring for one in rows)),
            agent_busy=self._agent_busy(case),
            source_healthy=self.healthy(case.source),
            paused_by=self._paused_by(case),
        )

    def took(self, case: Case) -> None:
        """This transaction gave the case's agent an attempt: no other case may have them in it as well."""
        agent = live_agent(case.source, case.agent)
        if case.live_attempt is not None and agent is not None:
            self.live_agents[agent] = case.id

    def requested(self, case: Case, key: str) -> None:
        """This transaction requests a number for this case: no other case may have it in it as well."""
        self.requests[case.tenant, key].append(Request(case_id=case.id, at=self.now))

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
    shared_hold: timedelta,
    healthy: Callable[[str], bool],
    decided: Collection[str] = (),
) -> Known:
    """Read what the rules must know of these cases. `healthy` says whether a source sees its phone system; `decided`
    are the ids of the calls about which this transaction decides."""
    known = Known(now=now, shared_hold=shared_hold, healthy=healthy)
    if not cases:
        return known
    keys = sorted({number.key for case in cases for number in case.numbers})
    tenants = sorted({case.tenant for case in cases})
    agents = sorted({case.agent for case in cases if case.agent})
    busy = sorted({key for case in cases if (key := live_agent(case.source, case.agent)) is not None})
    since = now - max(HARD_STOP_PERIOD, shared_hold)
    await _attempts(connection, known, keys=keys, since=since, agents=agents, live=busy)
    verdicts = await connection.execute(_VERDICTS, {"keys": keys, "tenants": tenants})
    known.verdicts = {(tenant, key): until for tenant, key, until in verdicts}
    known.in_call = await in_call(connection, keys=keys, agents=agents, now=now, decided=decided)
    known.pauses = {(scope, name) for scope, name in await connection.execute(_PAUSES)}
    return known


async def _attempts(
    connection: AsyncConnection,
    known: Known,
    *,
    keys: Collection[str],
    since: datetime,
    agents: Collection[str],
    live: Collection[str],
) -> None:
    """What attempts, of whatever case, say of these numbers since then, and of these agents; `live` is what of theirs
    stands in `attempts.live_agent`. Each of the three is found by an index of its own, so this is a union."""
    asked = {"keys": keys, "since": since, "now": known.now, "agents": agents, "live": live}
    for row in await connection.execute(_ATTEMPTS, asked):
        match row.kind:
            case "request":
                may_ring = attempt_of(row).may_ring(known.now)
                known.requests[row.tenant, row.match_key].append(
                    Request(case_id=row.case_id, at=row.requested_at, ended_at=row.ended_at, may_ring=may_ring)
                )
            case "ringing":
                known.ringing_agents.add((row.source, row.agent))
            case "live":
                known.live_agents[row.live_agent] = row.case_id
