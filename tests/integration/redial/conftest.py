"""A prepared store on each engine, and a redial engine over it with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from cdrhub.redial import case_rows
from cdrhub.redial.dialling import Dialling
from cdrhub.redial.engine import Done, Engine
from cdrhub.redial.model import AttemptState, CaseState
from cdrhub.redial.orders import Orders
from cdrhub.redial.policy import Mode
from cdrhub.redial.settings import Settings
from cdrhub.redial.since import Since
from cdrhub.store import Store
from cdrhub.store.redial_tables import attempts, case_numbers, cases, redial_decisions
from cdrhub.store.tables import outbox
from support import ledger
from support.emptied import emptied
from support.phone_systems import Systems

AGENT = "102"
NUMBERS = ("+2348039100001", "+2348039100002", "+2348039100003")


@dataclass
class Clock:
    """The hub's clock, which the test moves."""

    now: datetime = field(default_factory=lambda: ledger.at(110))


@dataclass
class Bench:
    """A store, an engine, and what a test says to them."""

    store: Store
    clock: Clock
    settings: Settings = field(default_factory=lambda: Settings(mode=Mode.ON))
    systems: Systems = field(default_factory=Systems)

    def engine(self) -> Engine:
        """A hub's engine."""
        return Engine(
            database=self.store.database,
            settings=self.settings,
            clock=lambda: self.clock.now,
            systems=self.systems,
        )

    def dialling(self, *, since: datetime | None = None) -> Dialling:
        """The dialling of a hub that began at `since`."""
        return Dialling(
            database=self.store.database,
            settings=self.settings,
            clock=lambda: self.clock.now,
            systems=self.systems,
            since=Since(since, max_age=self.settings.timing.max_age),
        )

    def orders(self) -> Orders:
        """A hub's orders."""
        return Orders(
            database=self.store.database,
            settings=self.settings,
            clock=lambda: self.clock.now,
            systems=self.systems,
        )

    async def claim(self, room: int = 10) -> list[str]:
        """Claim decided attempts; the numbers that may now be requested."""
        return [claimed.order.number for claimed in await self.dialling().claim(room={"crm": room})]

    async def live_attempt(self, case_id: str) -> str:
        """The id of the case's live attempt."""
        async with self.store.database.connect() as connection:
            query = select(attempts.c.id).where(attempts.c.live_case == case_id)
            return str((await connection.execute(query)).scalar_one())

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += timedelta(seconds=seconds)

    async def decide(self) -> Done:
        """Everything that is due."""
        engine = self.engine()
        done = await engine.decide()
        while done.more:
            done = await engine.decide()
        return done

    async def case(self, code: str, *numbers: str, agent: str = AGENT, tenant: str = "", **values: Any) -> str:
        """A case that is open."""
        case_id = case_rows.new_id()
        row = {
            "id": case_id,
            "tenant": tenant,
            "code": code,
            "source": "lagos",
            "agent": agent,
            "campaign": "",
            "timezone": "",
            "metadata": {},
            "state": CaseState.OPEN,
            "state_reason": "",
            "round": 1,
            "next_action_at": None,
            "next_key": "",
            "created_at": ledger.at(0),
            "updated_at": self.clock.now,
            "revision": 1,
        }
        async with self.store.database.connect(writing=True) as connection:
            await connection.execute(insert(cases).values(row | values))
            for position, number in enumerate(numbers or NUMBERS, start=1):
                await connection.execute(
                    insert(case_numbers).values(
                        case_id=case_id,
                        position=position,
                        number=number,
                        match_key=number,
                        e164=number,
                        label="",
                        do_not_call=False,
                    )
                )
        return case_id

    async def accepted(self, case_id: str, number: str = NUMBERS[0], *, agent: str = AGENT, **values: Any) -> str:
        """An attempt of the case that the dialler accepted, live."""
        attempt_id = case_rows.new_id()
        row = {
            "id": attempt_id,
            "case_id": case_id,
            "tenant": "",
            "round": 1,
            "number": number,
            "match_key": number,
            "e164": number,
            "source": "lagos",
            "dialler": "crm",
            "agent": agent,
            "placed_by": "hub",
            "reference": "media-7",
            "vendor_ref": "",
            "state": AttemptState.ACCEPTED,
            "detail": "",
            "decided_at": ledger.at(0),
            "requested_at": ledger.at(0),
            "live_case": case_id,
            "live_agent": f"lagos/{agent}",
        }
        async with self.store.database.connect(writing=True) as connection:
            await connection.execute(insert(attempts).values(row | values))
            await connection.execute(cases.update().where(cases.c.id == case_id).values(state=CaseState.DIALLING))
        return attempt_id

    async def call(
        self,
        key: str,
        number: str = NUMBERS[0],
        *,
        disposition: str = "no_answer",
        received: float = 100,
        live: bool = True,
        flags: Sequence[str] = (),
        **values: Any,
    ) -> None:
        """The record of an outbound call that ended at second 95, received at second 100."""
        said = {
            "state": "ended",
            "direction": "outbound",
            "disposition": disposition,
            "started_at": 60.0,
            "ended_at": 95.0,
            "callee_number": number,
            "callee_e164": number,
            "external_number": number,
            "agent_id": AGENT,
        }
        body = ledger.message(key, values=said | values, flags=flags, final=True)
        item = ledger.item(body, received=received)
        record = replace(item.record, attributes={"live": live})
        await self.store.write([replace(item, record=record)])

    async def of_case(self, case_id: str) -> dict[str, Any]:
        """The case's row."""
        async with self.store.database.connect() as connection:
            row = (await connection.execute(select(cases).where(cases.c.id == case_id))).one()
            return dict(row._mapping)

    async def attempts(self, case_id: str) -> list[tuple[str, str, str | None]]:
        """(number, state, outcome) of the case's attempts, oldest first."""
        async with self.store.database.connect() as connection:
            query = select(attempts).where(attempts.c.case_id == case_id).order_by(attempts.c.id)
            return [(row.match_key, row.state, row.outcome) for row in await connection.execute(query)]

    async def told(self) -> list[str]:
        """The types of all public facts, in their order."""
        async with self.store.database.connect() as connection:
            query = select(outbox.c.type).where(outbox.c.type != "call.settled").order_by(outbox.c.id)
            return list((await connection.execute(query)).scalars())

    async def decisions(self) -> list[tuple[str, str]]:
        """(result, rule) of all decisions, in their order."""
        async with self.store.database.connect() as connection:
            query = select(redial_decisions).order_by(redial_decisions.c.id)
            return [(row.result, row.rule) for row in await connection.execute(query)]


@pytest.fixture
async def bench(store_url: str) -> Bench:
    """A store without rows."""
    clock = Clock()
    opened = await emptied(store_url, redecode=ledger.decode, connections=2, clock=lambda: clock.now)
    return Bench(opened, clock)
