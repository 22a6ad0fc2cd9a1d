"""What the rules must know beside a case, read in the transaction that decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.redial.cases import live_agent
from cdrhub.redial.model import Case
from cdrhub.redial.policy import HARD_STOP_PERIOD, Surroundings
from cdrhub.store.open_calls import OPEN_STATES
from cdrhub.store.redial_tables import attempts, do_not_call, redial_pauses
from cdrhub.store.tables import calls

Tenant = str


@dataclass(slots=True)
class Known:
    """What was read, for all cases of one transaction."""

    now: datetime
    shared_hold: timedelta
    healthy: Callable[[str], bool]
    requests: dict[tuple[Tenant, str], list[tuple[str, datetime, datetime | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    verdicts: dict[tuple[Tenant, str], datetime | None] = field(default_factory=dict)
    in_call: set[tuple[Tenant, str]] = field(default_factory=set)
    agents_in_call: set[tuple[str, str]] = field(default_factory=set)
    live_agents: dict[str, str] = field(default_factory=dict)
    pauses: set[tuple[str, str]] = field(default_factory=set)

    def around(self, case: Case) -> Surroundings:
        """The surroundings of one case."""
        keys = {number.key for number in case.numbers}
        asked = {key: self.requests.get((case.tenant, key), []) for key in keys}
        agent = live_agent(case.source, case.agent)
        holder = self.live_agents.get(agent) if agent is not None else None
        return Surroundings(
            now=self.now,
            requests={key: [at for _, at, _ in rows] for key, rows in asked.items()},
            do_not_call={key: self.verdicts[case.tenant, key] for key in keys if (case.tenant, key) in self.verdicts},
            held={
                key: max(until)
                for key, rows in asked.items()
                if (until := [(end or at) + self.shared_hold for other, at, end in rows if other != case.id])
            },
            in_call=frozenset(key for key in keys if (case.tenant, key) in self.in_call),
            agent_busy=bool(case.agent)
            and ((case.source, case.agent) in self.agents_in_call or (holder is not None and holder != case.id)),
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
        self.requests[case.tenant, key].append((case.id, self.now, None))

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
) -> Known:
    """Read what the rules must know of these cases. `healthy` says whether a source sees its phone system."""
    known = Known(now=now, shared_hold=shared_hold, healthy=healthy)
    if not cases:
        return known
    keys = sorted({number.key for case in cases for number in case.numbers})
    tenants = {case.tenant for case in cases}
    since = now - max(HARD_STOP_PERIOD, shared_hold)
    asked = select(
        attempts.c.tenant, attempts.c.match_key, attempts.c.case_id, attempts.c.requested_at, attempts.c.ended_at
    ).where(attempts.c.match_key.in_(keys), attempts.c.requested_at > since)
    for tenant, key, case_id, requested, ended in await connection.execute(asked):
        known.requests[tenant, key].append((case_id, requested, ended))
    verdicts = select(do_not_call.c.tenant, do_not_call.c.match_key, do_not_call.c.until).where(
        do_not_call.c.match_key.in_(keys), do_not_call.c.tenant.in_(tenants)
    )
    known.verdicts = {(tenant, key): until for tenant, key, until in await connection.execute(verdicts)}
    agents = sorted({case.agent for case in cases if case.agent})
    living = select(
        calls.c.tenant, calls.c.external_number, calls.c.source, calls.c.agent_id, calls.c.agent_extension
    ).where(
        calls.c.state.in_(OPEN_STATES),
        or_(calls.c.external_number.in_(keys), calls.c.agent_id.in_(agents), calls.c.agent_extension.in_(agents)),
    )
    for tenant, number, source, agent_id, extension in await connection.execute(living):
        known.in_call.add((tenant, number))
        known.agents_in_call |= {(source, agent) for agent in (agent_id, extension) if agent}
    busy = {key for case in cases if (key := live_agent(case.source, case.agent)) is not None}
    holders = select(attempts.c.live_agent, attempts.c.case_id).where(attempts.c.live_agent.in_(busy))
    known.live_agents = {row.live_agent: row.case_id for row in await connection.execute(holders)}
    known.pauses = {
        (scope, name) for scope, name in await connection.execute(select(redial_pauses.c.scope, redial_pauses.c.name))
    }
    return known
