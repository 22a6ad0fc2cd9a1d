"""Redial under everything that can happen, in any order: orders, requests, answers, records, deadlines, crashes of
either of two hubs between any two of its steps.

Whatever happens: no case and no agent has two live attempts, no attempt is requested twice, no number is tried twice in
a round or beyond its caps, each call is told once, and no case hangs: it is closed, live with a deadline, scheduled,
visibly paused, or was never ordered. In the end, when nothing more comes, nothing is live.

The transactions are the real ones on a real database (SQLite); the steps between them are the service's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused, Standing, Unseen
from cdrhub.model.disposition import Disposition
from cdrhub.redial.case_rows import attempt_of
from cdrhub.redial.dialling import Claimed, Dialling
from cdrhub.redial.engine import Engine
from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.redial.model import CLOSED, Attempt, AttemptState, CaseState, Reported
from cdrhub.redial.order_errors import OrderError
from cdrhub.redial.orders import Orders
from cdrhub.redial.policy import HARD_STOP_PERIOD, HARD_STOP_REQUESTS, Mode, Policy
from cdrhub.redial.settings import Settings
from cdrhub.redial.since import Since
from cdrhub.store import Store
from cdrhub.store.redial_tables import attempts, cases
from cdrhub.store.tables import outbox
from support import ledger
from support.emptied import emptied
from support.phone_systems import Systems

T = TypeVar("T")

FIRST, SECOND, SHARED, FOURTH, FIFTH = (f"+23480391000{place:02}" for place in range(5))
CASES = {
    "C-1": ("101", (FIRST, SECOND, SHARED)),
    "C-2": ("102", (SHARED, FOURTH)),  # has a number of C-1 as well
    "C-3": ("101", (FIFTH,)),  # has the agent of C-1
}
POLICIES = (
    Policy(),
    Policy(number_cap=1, case_cap=3),
    Policy(period_cap=2, period=timedelta(hours=1), cool_down={Disposition.BUSY: timedelta(minutes=5)}),
    Policy(between_numbers=timedelta(minutes=2), contacted_cool_down=timedelta(hours=2)),
)
ENDS = (
    Disposition.NO_ANSWER,
    Disposition.BUSY,
    Disposition.ANSWERED,
    Disposition.NO_ANSWER,
    Disposition.BUSY,
    Disposition.NOT_DIALLED,
    Disposition.ABANDONED,
    Disposition.VOICEMAIL,
)
ANSWERS: tuple[Answer, ...] = (
    Accepted(vendor_ref=""),
    Accepted(vendor_ref="job"),
    Unseen(detail="reset"),
    *(Refused(refusal=refusal, detail="no") for refusal in Refusal),
)
GOING = (CaseState.OPEN, CaseState.DIALLING, CaseState.WAITING)
ASKED = (AttemptState.REQUESTED, AttemptState.ACCEPTED, AttemptState.SUPERSEDED)
STEPS = ("decide", "due", "claim", "send", "answer")
steps = st.sampled_from(("decide", "send", "send", "answer", "answer"))
SELDOM = st.sampled_from((False, False, False, True))
END_ROUNDS = 60  #: of looking, until nothing may be live any more
QUIET_ROUNDS = 3  #: in which nothing went on: nothing begins again either

pick = st.integers(min_value=0, max_value=1_000)


def rang(attempt: Attempt) -> bool:
    """Whether the number's telephone rang, or may have."""
    match attempt.state:
        case AttemptState.ENDED:
            return attempt.outcome is not Disposition.NOT_DIALLED
        case AttemptState.REFUSED:
            return attempt.refusal is Refusal.NUMBER
        case _:
            return attempt.state in (AttemptState.UNKNOWN, AttemptState.SUPERSEDED)


def given(code: str) -> GivenCase:
    """One of the cases, as an integrator gives it."""
    agent, numbers = CASES[code]
    return GivenCase(code=code, source="lagos", agent=agent, numbers=[GivenNumber(number=number) for number in numbers])


@dataclass
class Hub:
    """What one process holds in memory: lost when it dies."""

    engine: Engine
    dialling: Dialling
    claimed: list[Claimed] = field(default_factory=list)
    waiting: list[Claimed] = field(default_factory=list)


class World(RuleBasedStateMachine):
    """Two hubs, one database, a switch, and people."""

    prepared: Path  #: a database with the schema

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = ledger.at(0)
        self.systems, self.paused = Systems(), False
        self.requested: Counter[str] = Counter()
        self.moments: dict[str, dict[str, datetime]] = {}  #: of requests on a number, by the ids of their attempts
        self.holders: dict[str, list[Claimed]] = {}
        self.dialled: list[tuple[Claimed, datetime]] = []
        self.records = 0
        #: Attempts that were not dialled, as far as anybody knew: a person or a later record may say otherwise, when
        #: their numbers have been dialled again.
        self.not_dialled: set[str] = set()
        self.refused: set[str] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do one step."""
        return self.runner.run(work)

    @initialize(policy=st.sampled_from(POLICIES), live=st.booleans(), wait=st.sampled_from((0, 0, 30)))
    def begin(self, policy: Policy, live: bool, wait: int) -> None:
        self.settings = Settings(
            mode=Mode.ON, policy=policy, result_wait=timedelta(seconds=wait), shared_hold=timedelta(minutes=10)
        )
        self.systems.live = live
        self.store = self.run(emptied(f"sqlite:///{self.prepared}", redecode=ledger.decode, clock=lambda: self.now))
        self.orders = Orders(
            database=self.store.database,
            settings=self.settings,
            clock=lambda: self.now,
            systems=self.systems,
        )
        self.hubs = [self.hub(), self.hub()]
        self.run(self.orders.keep([given(code) for code in CASES]))
        self.dial("C-1")
        self.turn(False, last="send", answer=ANSWERS[0], dies=False)

    def hub(self) -> Hub:
        """A process that has just started."""
        return Hub(
            engine=Engine(
                database=self.store.database,
                settings=self.settings,
                clock=lambda: self.now,
                systems=self.systems,
            ),
            dialling=Dialling(
                database=self.store.database,
                settings=self.settings,
                clock=lambda: self.now,
                systems=self.systems,
                since=Since(None, max_age=self.settings.timing.max_age),
            ),
        )

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            self.until_nothing_goes_on()
        finally:
            self.run(self.store.close())
            self.runner.close()

    # -- people --------------------------------------------------------------------------------------------------------

    @rule(code=st.sampled_from(sorted(CASES)))
    def dial(self, code: str) -> None:
        self.order(self.orders.dial(tenant="", code=code))

    @rule(code=st.sampled_from(sorted(CASES)), hub=st.booleans(), last=steps)
    def dial_at_once(self, code: str, hub: bool, last: str) -> None:
        self.dial(code)
        self.turn(hub, last, ANSWERS[0], dies=False)

    @rule(code=st.sampled_from(sorted(CASES)), why=st.sampled_from(("stop", "resume", "not_reached")))
    def stop_or_resume(self, code: str, why: str) -> None:
        if why == "stop":
            self.order(self.orders.stop(tenant="", code=code))
        else:
            self.order(self.orders.resume(tenant="", code=code, not_reached=why == "not_reached"))

    @rule(code=st.sampled_from(sorted(CASES)))
    def make_again(self, code: str) -> None:
        self.order(self.deleted_and_made(code))

    async def deleted_and_made(self, code: str) -> None:
        await self.orders.forget(tenant="", code=code)
        assert await self.orders.make(given(code))

    @rule(which=pick, result=st.sampled_from(Reported))
    def report(self, which: int, result: Reported) -> None:
        later = self.now + timedelta(minutes=10)
        if (chosen := self.chosen(which)) is not None:
            attempt_id = chosen[0].order.attempt_id
            self.order(self.orders.report(tenant="", attempt_id=attempt_id, result=result, at=later))

    @rule(code=st.sampled_from(sorted(CASES)), which=pick)
    def announce(self, code: str, which: int) -> None:
        numbers = CASES[code][1]
        self.order(self.orders.announce(tenant="", code=code, number=numbers[which % len(numbers)]))

    @rule(paused=SELDOM)
    def pause(self, paused: bool) -> None:
        self.paused = paused
        if paused:
            self.run(self.orders.pause(scope="agent", name="101", actor="a person"))
        else:
            self.run(self.orders.unpause(scope="agent", name="101"))

    def order(self, order: Coroutine[Any, Any, Any]) -> None:
        """Give an order; it may be impossible at the moment."""
        try:
            self.run(order)
        except OrderError:
            return

    # -- hubs ----------------------------------------------------------------------------------------------------------

    def turn(self, which: bool, last: str, answer: Answer, dies: bool) -> None:
        """A hub does its steps up to `last`, and may die after it."""
        hub = self.hubs[which]
        for step in STEPS[: STEPS.index(last) + 1]:
            match step:
                case "decide":
                    self.run(hub.engine.decide())
                case "due":
                    self.run(hub.dialling.due())
                case "claim":
                    before = self.attempts()
                    self.claimed(hub, before, self.run(hub.dialling.claim(room={"crm": 3})))
                case "send":
                    self.send(hub)
                case "answer":
                    self.answer(hub, answer)
        if dies:
            self.hubs[which] = self.hub()

    @rule(which=st.booleans(), last=st.sampled_from(STEPS), answer=st.sampled_from(ANSWERS), dies=SELDOM)
    def a_turn(self, which: bool, last: str, answer: Answer, dies: bool) -> None:
        self.turn(which, last, answer, dies)

    @rule(which=st.booleans(), answer=st.sampled_from(ANSWERS))
    def a_whole_turn(self, which: bool, answer: Answer) -> None:
        self.turn(which, STEPS[-1], answer, dies=False)

    @rule()
    def both_claim(self) -> None:
        async def both() -> Any:
            return await asyncio.gather(*(hub.dialling.claim(room={"crm": 3}) for hub in self.hubs))

        before = self.attempts()
        # Which of the two was faster must not matter to what follows: the run can be repeated then.
        self.claimed(self.hubs[0], before, [one for claimed in self.run(both()) for one in claimed])

    def claimed(self, hub: Hub, before: dict[str, list[tuple[str, Attempt]]], claimed: Sequence[Claimed]) -> None:
        """A hub may request these."""
        for one in sorted(claimed, key=lambda one: one.order.number):
            self.assert_may_be_requested(one, before)
            self.moments.setdefault(one.order.number, {})[one.order.attempt_id] = self.now
            self.holders.setdefault(one.order.number, []).append(one)
            hub.claimed.append(one)

    def send(self, hub: Hub) -> None:
        """Everything that was claimed leaves."""
        for one in hub.claimed:
            self.requested[one.order.attempt_id] += 1
            self.dialled.append((one, self.now))
        hub.waiting += hub.claimed
        hub.claimed = []

    def answer(self, hub: Hub, answer: Answer) -> None:
        """The answer to the oldest request comes."""
        if not hub.waiting:
            return
        attempt_id = hub.waiting.pop(0).order.attempt_id
        if isinstance(answer, Accepted) and answer.vendor_ref:
            answer = Accepted(vendor_ref=f"job {attempt_id}")
        if isinstance(answer, Refused):  # what was refused is not dialled
            self.dialled = [one for one in self.dialled if one[0].order.attempt_id != attempt_id]
            self.refused.add(attempt_id)
        self.run(hub.dialling.answered(attempt_id, answer))

    @rule(
        which=st.booleans(),
        standing=st.sampled_from((Standing(), Standing(live=True), Standing(outcome=Disposition.NO_ANSWER))),
    )
    def deadlines(self, which: bool, standing: Standing) -> None:
        dialling = self.hubs[which].dialling
        for one in self.run(dialling.overdue()):
            self.run(dialling.standing(one.attempt_id, standing))

    @rule(code=st.sampled_from(sorted(CASES)), which=st.booleans())
    def stopped_and_dialled_again(self, code: str, which: bool) -> None:
        """A person changes their mind while a telephone rings."""
        self.dial(code)
        self.turn(which, "send", ANSWERS[0], dies=False)
        self.order(self.orders.stop(tenant="", code=code))
        self.dial(code)
        self.turn(which, "send", ANSWERS[0], dies=False)

    @rule(code=st.sampled_from(sorted(CASES)), which=st.booleans())
    def given_up_and_resumed(self, code: str, which: bool) -> None:
        """Nobody hears of a call until its deadline, and a person lets the case go on."""
        self.turn(which, "send", ANSWERS[0], dies=False)
        self.now += self.settings.attempt_timeout
        self.deadlines(which, Standing())
        self.order(self.orders.resume(tenant="", code=code))
        self.turn(which, "send", ANSWERS[0], dies=False)

    # -- the world -----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 10, 10, 61, 61, 130, 700, 90_000)))
    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(blind=SELDOM)
    def see(self, blind: bool) -> None:
        self.systems.blind = {"lagos"} if blind else ()

    @rule(disposition=st.sampled_from(ENDS), carried=st.booleans(), late=SELDOM, hub=st.booleans(), last=steps)
    def record(self, disposition: Disposition, carried: bool, late: bool, hub: bool, last: str) -> None:
        """The record of the last call that was asked for; a hub takes it up at once."""
        self.told(self.chosen(-1), disposition, carried=carried, live=not late)
        self.turn(hub, last, ANSWERS[0], dies=False)

    @rule(which=pick, disposition=st.sampled_from(ENDS), carried=st.booleans())
    def another_record(self, which: int, disposition: Disposition, carried: bool) -> None:
        """Of any call that was asked for, it may be a second one."""
        self.told(self.chosen(which), disposition, carried=carried, live=True)

    def told(
        self, chosen: tuple[Claimed, datetime] | None, disposition: Disposition, *, carried: bool, live: bool
    ) -> None:
        """The switch sends a record; it may carry our reference."""
        if chosen is not None:
            order = chosen[0].order
            self.write(
                f"call {order.attempt_id}",
                number=order.number,
                agent=order.agent,
                disposition=disposition,
                began=chosen[1],
                attributes={"reference": order.attempt_id} if carried else {},
                live=live,
            )

    @rule(which=pick, disposition=st.sampled_from(ENDS), inbound=st.booleans(), known=pick)
    def another_call(self, which: int, disposition: Disposition, inbound: bool, known: int) -> None:
        """An agent dials by hand, or a person calls back."""
        agent, numbers = CASES[sorted(CASES)[known % len(CASES)]]
        self.write(
            f"other {self.records}",
            number=numbers[which % len(numbers)],
            agent=agent,
            disposition=disposition,
            began=self.now - timedelta(seconds=20),
            attributes={},
            direction="inbound" if inbound else "outbound",
        )

    def write(
        self,
        key: str,
        *,
        number: str,
        agent: str,
        disposition: Disposition,
        began: datetime,
        attributes: dict[str, str],
        live: bool = True,
        direction: str = "outbound",
    ) -> None:
        """A record of a call that has just ended."""
        self.records += 1
        side = "callee" if direction == "outbound" else "caller"
        seconds = (self.now - ledger.START).total_seconds()
        body = ledger.message(
            key,
            f"end {self.records}",
            seconds=seconds,
            values={
                "state": "ended",
                "direction": direction,
                "disposition": disposition,
                "started_at": (began - ledger.START).total_seconds(),
                "ended_at": seconds,
                f"{side}_number": number,
                f"{side}_e164": number,
                "external_number": number,
                "agent_id": agent,
            },
            attributes=attributes | {"records": self.records},
            final=True,
        )
        item = ledger.item(body, received=seconds)
        item.record.attributes["live"] = live  # type: ignore[index]
        self.run(self.store.write([item]))

    def chosen(self, which: int) -> tuple[Claimed, datetime] | None:
        """An order that reached the switch, if one did."""
        return self.dialled[which % len(self.dialled)] if self.dialled else None

    # -- what holds ----------------------------------------------------------------------------------------------------

    def assert_may_be_requested(self, one: Claimed, before: dict[str, list[tuple[str, Attempt]]]) -> None:
        """Whether the rules allow a request on this number now."""
        order = one.order
        assert not self.systems.blind
        assert not (self.paused and order.agent == "101")
        person = set(CASES[order.case_code][1])
        everywhere = [attempt for of_case in before.values() for _, attempt in of_case]
        # What never rang counts for nothing.
        spared = self.refused | self.not_dialled
        spared |= {attempt.id for attempt in everywhere if attempt.outcome is Disposition.NOT_DIALLED}
        made = self.moments.get(order.number, {})
        held = self.now - self.settings.shared_hold
        of_others = [one.order for one in self.holders.get(order.number, ()) if one.order.case_code != order.case_code]
        assert not [one for one in of_others if one.attempt_id not in spared and made[one.attempt_id] > held]
        # Whose telephone may ring already, for whatever case, is not rung.
        assert not [attempt for attempt in everywhere if attempt.key in person and self.may_ring(attempt)]
        known = [attempt for _, attempt in before[order.case_code]]
        (mine,) = [attempt for attempt in known if attempt.id == order.attempt_id]
        # Who was reached is left alone, until somebody orders a new round.
        assert not [one for one in known if one.round == mine.round and one.outcome is Disposition.ANSWERED]
        assert not [one for one in known if (one.round, one.key) == (mine.round, mine.key) and rang(one)]
        policy = self.settings.policy
        since = self.now - HARD_STOP_PERIOD
        assert sum(at > since for attempt_id, at in made.items() if attempt_id not in spared) < HARD_STOP_REQUESTS
        tried = [attempt for attempt in known if rang(attempt)]
        if policy.number_cap is not None:
            assert sum(attempt.key == order.number for attempt in tried) < policy.number_cap
        if policy.case_cap is not None:
            assert len(tried) < policy.case_cap

    def may_ring(self, attempt: Attempt) -> bool:
        """Whether a request has left whose call nobody saw end, within its time."""
        patience = self.settings.first_sign if self.systems.live else self.settings.attempt_timeout
        if attempt.state not in ASKED or attempt.call_id is not None or attempt.requested_at is None:
            return False
        return self.now < attempt.requested_at + patience

    def attempts(self) -> dict[str, list[tuple[str, Attempt]]]:
        """Case code → (placed by, attempt), oldest first."""

        async def read() -> dict[str, list[tuple[str, Attempt]]]:
            found: dict[str, list[tuple[str, Attempt]]] = {code: [] for code in CASES}
            async with self.store.database.connect() as connection:
                codes = {row.id: row.code for row in await connection.execute(select(cases.c.id, cases.c.code))}
                for row in await connection.execute(select(attempts).order_by(attempts.c.id)):
                    found[codes[row.case_id]].append((row.placed_by, attempt_of(row)))
            return found

        return self.run(read())

    @invariant()
    def nobody_is_rung_twice(self) -> None:
        if not hasattr(self, "store"):
            return
        assert max(self.requested.values(), default=1) == 1
        agents: Counter[str] = Counter()
        for code, known in self.attempts().items():
            live = [attempt for _, attempt in known if attempt.live]
            assert len(live) <= 1, (code, live)
            agents.update(attempt.agent for attempt in live)
            self.not_dialled |= {attempt.id for _, attempt in known if attempt.outcome is Disposition.NOT_DIALLED}
            tried = Counter(
                (attempt.round, attempt.key)
                for placed_by, attempt in known
                if placed_by == "hub" and rang(attempt) and attempt.id not in self.not_dialled
            )
            assert max(tried.values(), default=1) == 1, (code, tried)
        assert max(agents.values(), default=1) == 1, agents

    @invariant()
    def nothing_hangs(self) -> None:
        if hasattr(self, "store"):
            self.run(self.assert_nothing_hangs())

    async def assert_nothing_hangs(self) -> None:
        async with self.store.database.connect() as connection:
            known = (await connection.execute(select(cases))).all()
            live = {
                row.live_case: row
                for row in await connection.execute(select(attempts).where(attempts.c.live_case.is_not(None)))
            }
        for case in known:
            attempt = live.get(case.id)
            if attempt is not None:
                assert case.state == CaseState.DIALLING, (case.code, case.state, attempt.state)
                assert attempt.state == AttemptState.DECIDED or attempt.deadline_at is not None
            elif case.state == CaseState.WAITING:
                assert case.next_action_at is not None
            elif case.state == CaseState.PAUSED:
                assert case.state_reason
            else:
                assert case.state in CLOSED or case.revision == 1, (case.code, case.state, case.round)

    def until_nothing_goes_on(self) -> None:
        """The last hub looks until nothing is left to do; both died before."""
        hub = self.hub()
        self.systems.blind = ()
        self.run(self.orders.unpause(scope="agent", name="101"))
        rounds = quiet = 0
        while quiet < QUIET_ROUNDS and rounds < END_ROUNDS:
            rounds += 1
            self.now += timedelta(hours=5)
            self.run(hub.engine.decide())
            self.run(hub.dialling.due())
            self.run(hub.dialling.claim(room={"crm": 10}))
            self.now += timedelta(hours=5)
            for one in self.run(hub.dialling.overdue()):
                self.run(hub.dialling.standing(one.attempt_id, Standing()))
            quiet = 0 if self.run(self.going_on()) else quiet + 1
        self.nobody_is_rung_twice()
        self.nothing_hangs()
        assert self.run(self.going_on()) == []
        self.run(self.assert_each_end_is_told_once())

    async def going_on(self) -> list[str]:
        """Cases that go on, live attempts, and calls about which nobody decided."""
        queries = (
            select(cases.c.code).where(cases.c.state.in_(GOING), cases.c.revision > 1),
            select(attempts.c.id).where(attempts.c.live_case.is_not(None)),
            select(outbox.c.call_id).where(outbox.c.type == "call.settled"),
        )
        async with self.store.database.connect() as connection:
            return [found for query in queries for found in (await connection.execute(query)).scalars()]

    async def assert_each_end_is_told_once(self) -> None:
        query = select(outbox.c.call_id).where(outbox.c.type.in_(("call.hangup", "call.ended")))
        async with self.store.database.connect() as connection:
            ends = Counter((await connection.execute(query)).scalars())
        assert set(ends.values()) <= {1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema."""
    file = tmp_path_factory.mktemp("redial") / "cdrhub.db"

    async def prepare() -> None:
        store = Store.open(f"sqlite:///{file}")
        await store.prepare()
        await store.close()

    asyncio.run(prepare())
    return file


@pytest.mark.parametrize(
    ("examples", "steps"), [(20, 40), pytest.param(3_000, 80, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_any_order_of_events(prepared: Path, examples: int, steps: int) -> None:
    World.prepared = prepared
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples < 1_000,
        ),
    )
