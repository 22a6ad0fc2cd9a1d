"""One event of every type, as the real code writes, numbers and renders it: the examples of docs/events.md.

A day at a fixed clock: a 3CX and an asterCC speak, a person orders, a dialler answers. Identifiers are given anew in
the order in which they appear, for those of the real code differ from run to run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from cdrhub.broadcast.log import EventLog
from cdrhub.broadcast.render import rendered
from cdrhub.broadcast.sequencer import Sequencer
from cdrhub.cli.reading import Reader
from cdrhub.config import Config, parse
from cdrhub.metrics import Metrics
from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused, Standing, Unseen
from cdrhub.model.inference import Coverage, CoverageState, coverage_inference, encode_inference
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.redial.dialling import Dialling
from cdrhub.redial.engine import Engine
from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.redial.orders import Orders
from cdrhub.redial.policy import Mode
from cdrhub.redial.retelling import retell
from cdrhub.redial.settings import Settings
from cdrhub.redial.since import Since
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.replay import replay
from support.phone_systems import Systems
from support.records import raw_record

INFERENCE = "application/vnd.cdrhub.inference+json"
BEGIN = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)
CONFIGURATION = """
[hub]
name = "hub-1"
[database]
url = "sqlite:///unused"
[sources.lagos]
type = "3cx"
listen = "127.0.0.1:5555"
region = "NG"
timezone = "UTC"
[sources.shanghai]
type = "astercc"
path = "/ingest/astercc/0123456789abcdef"
timezone = "Asia/Shanghai"
region = "CN"
"""
FIRST, SECOND, THIRD, FOURTH = "08039100001", "08039100002", "08039100003", "08039100004"

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(slots=True)
class Day:
    """A hub in pieces, and what happens to it."""

    store: Store
    config: Config
    reader: Reader
    now: datetime = BEGIN
    settings: Settings = field(default_factory=lambda: Settings(mode=Mode.ON))

    def clock(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def orders(self) -> Orders:
        return Orders(
            database=self.store.database,
            settings=self.settings,
            clock=self.clock,
            systems=Systems(),
        )

    @property
    def dialling(self) -> Dialling:
        return Dialling(
            database=self.store.database,
            settings=self.settings,
            clock=self.clock,
            systems=Systems(),
            since=Since(None, max_age=self.settings.timing.max_age),
        )

    async def receive(self, source: str, body: bytes, *, kind: str = "text/csv") -> None:
        """A record comes."""
        revision = self.config.revision(source)
        record = raw_record(body, source=source, received_at=self.now, content_type=kind, config_revision=revision)
        await self.store.write([self.reader.item(record)])

    async def sees(self, state: CoverageState, detail: str) -> None:
        """What the hub sees of the 3CX from now on."""
        said = Coverage(state=state, since=self.now, until=None, detail=detail, hub=self.config.hub.name)
        await self.receive("lagos", encode_inference(coverage_inference(said)), kind=INFERENCE)

    async def shanghai(self, source: str, word: str, **fields: str) -> None:
        """An event of asterCC."""
        said = {
            "calleridnum": "02150000012",
            "didnumber": "02150000099",
            "activenum": "6102" if source == "AGENT" else "02150000012",
            "source": source,
            "event": word,
            "sessionid": "s1",
            "eventTime": f"{self.now + timedelta(hours=8):%Y-%m-%d %H:%M:%S}",
            "calltype": "dialin",
            "agentno": "" if word == "incoming" else "7002",
        }
        body = "&".join(f"{key}={value}" for key, value in (said | fields).items())
        await self.receive("shanghai", body.encode(), kind="application/x-www-form-urlencoded")

    async def lagos(self, key: int, number: str, *, answered: bool = False, line: int = 1) -> None:
        """A line of the 3CX about a call to `number` that began twenty seconds ago; and the decision about it."""
        start, end = self.now - timedelta(seconds=20), self.now
        answer = f"{start + timedelta(seconds=8):%Y/%m/%d %H:%M:%S}" if answered else ""
        body = (
            f"Call {key},00000172FF10D141_{key},{'00:00:12' if answered else ''},{start:%Y/%m/%d %H:%M:%S},{answer},"
            f"{end:%Y/%m/%d %H:%M:%S},{'TerminatedByDst' if answered else 'Failed_Cancelled'},Ext.114,{number},114,"
            f"10001,{number},,,,,,{'0.95' if line > 1 else ''},,Chain: Ext.114;{number};"
        )
        await self.receive("lagos", body.encode())
        await self.decide()

    async def decide(self) -> None:
        """Everything that settled."""
        self.wait(60)
        engine = Engine(
            database=self.store.database,
            settings=self.settings,
            clock=self.clock,
            systems=Systems(),
        )
        while (await engine.decide()).more:
            pass

    async def replay(self, keys: Mapping[str, str]) -> None:
        """Old records are read anew, of which these are of other calls now; and everybody is told."""

        def reread(record: RawRecord) -> Item:
            item = self.reader.item(record)
            said = item.outcome
            if not isinstance(said, CallUpdate):
                return item
            return replace(item, outcome=replace(said, call_key=keys.get(said.call_key, said.call_key)))

        async for _ in replay(self.store, reread=reread, source="lagos", announce=retell):
            pass

    async def case(self, code: str, *numbers: str) -> None:
        """A case, ordered to be dialled."""
        given = [GivenNumber(number=number) for number in numbers]
        of_it: dict[str, Any] = {"agent": f"1{code[-2:]}", "metadata": {"ledger": "17"}}
        await self.orders.keep([GivenCase(code=code, source="lagos", numbers=given, **of_it)])
        await self.orders.dial(tenant="", code=code, reference="media-9")

    async def answered(self, answer: Answer) -> str:
        """The dialler answers what is requested now; the attempt's id."""
        (claimed,) = await self.dialling.claim(room={"crm": 10})
        await self.dialling.answered(claimed.order.attempt_id, answer)
        return claimed.order.attempt_id


async def _happens(day: Day) -> None:
    await day.sees("connected", "198.51.100.7:40112")
    day.wait(600)
    await day.sees("blind", "the peer closed")
    day.wait(45)
    await day.sees("connected", "198.51.100.7:40118")
    day.wait(1800)
    await day.sees("quiet", "no record for 30 minutes")
    await day.receive("lagos", b"Call 3,not,enough,fields")
    day.now = BEGIN + timedelta(hours=1)
    await day.shanghai("CALLER", "incoming")
    day.wait(5)
    await day.shanghai("AGENT", "ringing")
    day.wait(4)
    await day.shanghai("AGENT", "answer")
    day.wait(120)
    await day.shanghai("CALLER", "hangup", hangupfirst="CALLER")
    await day.shanghai("CONVERSATION", "hangup")
    await day.decide()
    # A case that is worked through: two numbers, nobody answers.
    day.now = BEGIN + timedelta(hours=2)
    await day.case("C-1014", FIRST, SECOND)
    for key, number in enumerate((FIRST, SECOND), start=4711):
        await day.answered(Accepted(vendor_ref=f"job-{key}"))
        day.wait(22)
        await day.lagos(key, number)
    # Its last record corrects what was told.
    day.now = BEGIN + timedelta(hours=2)
    day.wait(22)
    await day.lagos(4711, FIRST, line=2)
    # One that is reached, one that is stopped.
    day.now = BEGIN + timedelta(hours=3)
    await day.case("C-1114", THIRD)
    await day.answered(Accepted(vendor_ref="job-4720"))
    day.wait(22)
    await day.lagos(4720, THIRD, answered=True)
    await day.case("C-1214", THIRD, FOURTH)
    await day.orders.stop(tenant="", code="C-1214", why="the customer wrote")
    # An agent who is not there; in the end, nothing is dialled.
    day.now = BEGIN + timedelta(hours=6)
    await day.case("C-1314", SECOND)
    for _ in range(day.settings.timing.agent_retries + 1):
        await day.answered(Refused(refusal=Refusal.AGENT, detail="extension 114 is not registered"))
        day.wait(day.settings.timing.agent_retry.total_seconds() + 1)
        await day.dialling.due()
    # An answer that nobody saw.
    day.now = BEGIN + timedelta(hours=8)
    await day.case("C-1414", FOURTH)
    attempt = await day.answered(Unseen(detail="no answer in time"))
    day.wait(121)
    await day.dialling.standing(attempt, Standing())
    # A corrected decoder: the record of a call proves to be of another one.
    await day.replay({"4720/00000172FF10D141_4720": "4720/00000172FF10D142_4720"})


async def examples(folder: Path) -> dict[str, dict[str, Any]]:
    """The first event of each type, by its type, without what is null or empty in its data."""
    config = parse(CONFIGURATION, path=folder / "config.toml", environ={})
    reader = Reader(config)
    database = f"sqlite:///{folder / 'examples.db'}"
    at_work: list[Day] = []
    store = Store.open(database, redecode=reader.decode, clock=lambda: at_work[0].now)
    at_work.append(Day(store, config, reader))
    try:
        await store.prepare()
        await reader.remember(store)
        await _happens(at_work[0])
        sequencer = Sequencer(store.database, holder="examples", metrics=Metrics(), clock=at_work[0].clock)
        while await sequencer.step():
            pass
        events = await EventLog(store.database).after(0, limit=10_000)
    finally:
        await store.close()
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        document = orjson.loads(rendered(event))
        document["data"] = {name: value for name, value in document["data"].items() if value not in (None, "", [], {})}
        found.setdefault(event.type, document)
    return orjson.loads(_renamed(orjson.dumps(found).decode()))  # type: ignore[no-any-return]


def _renamed(text: str) -> str:
    known: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        version = found[0][14]
        return known.setdefault(found[0], f"01958b2a-5f00-{version}000-8000-{len(known) + 1:012}")

    return _ID.sub(name, text)
