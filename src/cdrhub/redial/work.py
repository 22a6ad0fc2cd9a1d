"""The settled calls of one transaction and what deciding about them needs: their cases, locked, and what the rules must
know. It takes a fixed number of queries, however many calls there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, Select, bindparam, literal_column, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.derive import ANSWER_UNSEEN, END_UNSEEN
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.model.inference import END_INFERRED
from cdrhub.redial import case_rows
from cdrhub.redial.carrier import ORDER, REPORT
from cdrhub.redial.decision import EndedCall, Result
from cdrhub.redial.in_call import number_keys
from cdrhub.redial.matching import EARLY, CallFacts, uuids_in
from cdrhub.redial.model import CLOSED, Attempt, Case
from cdrhub.redial.policy import Surroundings
from cdrhub.redial.reports import CALL_BACK
from cdrhub.redial.settings import Settings
from cdrhub.redial.surroundings import Known, look_at_calls, remembered
from cdrhub.store.one_of import OneOf
from cdrhub.store.padded import padded
from cdrhub.store.redial_tables import attempts, case_numbers, cases, redial_decisions
from cdrhub.store.tables import records
from cdrhub.store.transaction import Transaction

_TIME_IN_DOUBT = frozenset({"clock_suspect", "time_ambiguous"})
_LACKS_EVENTS = frozenset({END_UNSEEN, ANSWER_UNSEEN})


def _attempts_where(condition: ColumnElement[bool]) -> Select[Any]:
    return select(attempts.c.id, attempts.c.case_id, attempts.c.tenant, attempts.c.match_key).where(condition)


_CONCERNED = union_all(
    _attempts_where(OneOf(attempts.c.id, "ids")),
    _attempts_where(OneOf(attempts.c.vendor_ref, "said")),
    _attempts_where(OneOf(attempts.c.call_id, "calls")),
    _attempts_where(
        OneOf(attempts.c.match_key, "keys") & attempts.c.requested_at.between(bindparam("since"), bindparam("until"))
    ),
    select(null(), cases.c.id, cases.c.tenant, case_numbers.c.match_key)
    .join(cases, cases.c.id == case_numbers.c.case_id)
    .where(
        OneOf(case_numbers.c.match_key, "keys"),
        cases.c.state.not_in([literal_column(f"'{state}'") for state in sorted(CLOSED)]),
    ),
    select(null(), redial_decisions.c.case_id, null(), null()).where(
        OneOf(redial_decisions.c.call_id, "told"),
        redial_decisions.c.result == Result.CONTACTED,
    ),
)
_OF_BEFORE = (
    *(redial_decisions.c[name] for name in ("id", "at", "call_id", "cause", "case_id", "attempt_id", "result", "rule")),
    *(records.c[name] for name in ("received_at", "attributes")),
)
_BEFORE = union_all(
    padded(redial_decisions, _OF_BEFORE).where(
        OneOf(redial_decisions.c.case_id, "cases"),
        redial_decisions.c.cause.in_([literal_column(f"'{cause}'") for cause in (ORDER, REPORT)])
        | (OneOf(redial_decisions.c.call_id, "ids") & (redial_decisions.c.result != Result.NOTHING)),
    ),
    padded(records, _OF_BEFORE).where(OneOf(records.c.call_id, "ids")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A call that settled, as it stands in the database, locked."""

    columns: Mapping[str, Any]
    facts: CallFacts
    ended: EndedCall

    @property
    def id(self) -> str:
        return str(self.columns["id"])

    @property
    def tenant(self) -> str:
        return str(self.columns["tenant"])

    @property
    def reached(self) -> bool:
        return self.ended.reached


@dataclass(slots=True)
class Work:
    """What one transaction works on."""

    now: datetime
    cases: dict[str, Case] = field(default_factory=dict)
    by_number: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    attempts: dict[str, tuple[str, Attempt]] = field(default_factory=dict)
    """Attempt id → its case's id, the attempt."""
    left: dict[str, tuple[str, Attempt]] = field(default_factory=dict)
    """Attempt id → its tenant, an attempt whose case was deleted and whose call nobody saw yet."""
    decided: dict[str, dict[str, Result]] = field(default_factory=lambda: defaultdict(dict))
    """Call id → case id → what an earlier revision of the call decided last."""
    opened: dict[str, datetime] = field(default_factory=dict)
    """Case id → when its present round was opened, by an order to dial or to call back."""
    reported: dict[str, Result] = field(default_factory=dict)
    """Attempt id → what a person's report of it decided last."""
    held: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """Call id → the id of its attempt, until when its decision waits for such a report."""
    not_live: set[str] = field(default_factory=set)
    """Ids of calls whose last record did not come while it happened: files read late, imports, recovered lists."""
    known: Known | None = None

    def around(self, case: Case) -> Surroundings:
        """What the rules must know beside this case."""
        assert self.known is not None  # noqa: S101  (gathered before anything is decided)
        return self.known.around(case)


def settled_call(columns: Mapping[str, Any], *, clock_suspect: bool) -> Settled:
    """The settled call of a row of `calls`. `clock_suspect`: its source's clock is known to be wrong."""
    text = orjson.dumps(columns["attributes"]).decode()  # custom fields may lie deep
    # Not `linked_key`: it names the call that this one was transferred from, whose end this is not. It may carry what
    # that one carries, and tells only that the person was reached.
    references = [columns["call_key"], columns["contact_ref"] or "", *uuids_in(text)]
    reached = columns["disposition"] == Disposition.ANSWERED
    of_another = columns["linked_key"] not in (None, columns["call_key"])
    return Settled(
        columns=columns,
        facts=CallFacts(
            source=columns["source"],
            direction=Direction(columns["direction"]),
            started_at=columns["started_at"],
            keys=number_keys(columns),
            agents=frozenset({columns["agent_id"], columns["agent_extension"]} - {None, ""}),
            references=[] if of_another and not reached else references,
            reached=reached,
        ),
        ended=EndedCall(
            disposition=Disposition(columns["disposition"] or Disposition.UNKNOWN),
            direction=Direction(columns["direction"]),
            ended_at=columns["ended_at"],
            received_at=columns["last_received_at"],
            doubtful=_is_doubtful(columns),
            clock_suspect=clock_suspect or not _TIME_IN_DOUBT.isdisjoint(columns["flags"]),
        ),
    )


def _is_doubtful(columns: Mapping[str, Any]) -> bool:
    """Whether it may have been a conversation: an event of it was lost, or its end was inferred and not from what was
    seen of all its legs."""
    flags = columns["flags"]
    told = columns["ended_at"] is not None and columns["disposition"] != Disposition.UNKNOWN
    return not _LACKS_EVENTS.isdisjoint(flags) or (END_INFERRED in flags and not told)


async def gathered(
    tx: Transaction,
    settled: Sequence[Settled],
    *,
    now: datetime,
    settings: Settings,
    healthy: Callable[[str], bool],
) -> Work:
    """Lock the cases that these calls concern, and read what the rules must know. Nothing where they concern none."""
    work = Work(now=now)
    ids = [call.id for call in settled]
    async with tx.keeping_plans():
        await _lock_cases(tx.connection, work, settled, settings=settings)
        if not work.cases:
            return work
        await _before(tx.connection, work, ids)
        about = list(work.cases.values())
        work.known = await remembered(tx.connection, about, now=now, settings=settings, healthy=healthy)
    await look_at_calls(tx.connection, work.known, about, decided=ids)
    return work


async def _lock_cases(
    connection: AsyncConnection, work: Work, settled: Sequence[Settled], *, settings: Settings
) -> None:
    """Lock the cases that these calls concern, and keep them by what they are found by."""
    linked: dict[str, str] = {}
    concerned: set[str] = set()
    with_number: list[tuple[str, str, str]] = []
    for row in await _concerned(connection, settled, settings=settings):
        concerned.add(row.case_id)
        if row.id is not None:
            linked[row.id] = row.case_id
        elif row.match_key is not None:
            with_number.append((row.tenant, row.match_key, row.case_id))
    if not concerned:
        return
    work.cases = await case_rows.locked(connection, concerned)
    # As they stand under the locks: what was seen before them may have changed since.
    work.attempts = {
        attempt.id: (case.id, attempt)
        for case in work.cases.values()
        for attempt in case.attempts
        if attempt.id in linked
    }
    left = [attempt_id for attempt_id, case_id in linked.items() if case_id not in work.cases]
    work.left = {attempt.id: (tenant, attempt) for tenant, attempt in await case_rows.left_behind(connection, left)}
    has = {case.id: {number.key for number in case.numbers} for case in work.cases.values()}
    for tenant, key, case_id in with_number:
        if key in has.get(case_id, ()):
            work.by_number[tenant, key].add(case_id)


async def _concerned(
    connection: AsyncConnection, settled: Sequence[Settled], *, settings: Settings
) -> Sequence[Row[Any]]:
    """Every case that these calls may concern, by `case_id` and `tenant`: by the `id` of an attempt that one of them
    may be, by a `match_key` while the case is not closed, and (without either) by what an earlier revision of the call,
    which was told, decided.

    An attempt that a call belongs to was committed before its request left, and so before the call.
    """
    said = {text for call in settled for text in call.facts.references if text}
    starts = [call.facts.started_at for call in settled if call.facts.started_at is not None]
    asked = {
        "ids": sorted({found.lower() for text in said for found in uuids_in(text)}),
        "said": sorted(said),
        "calls": [call.id for call in settled],
        "keys": sorted({key for call in settled for key in call.facts.keys}),
        "since": min(starts) - settings.match_start if starts else None,
        "until": max(starts) + EARLY if starts else None,
        "told": [call.id for call in settled if call.columns["announced"] is not None],
    }
    return (await connection.execute(_CONCERNED, asked)).all()


async def _before(connection: AsyncConnection, work: Work, ids: Sequence[str]) -> None:
    """How the last record of each of these calls came, what earlier revisions of them decided, and what people ordered,
    and reported of the cases' attempts."""
    rows = (await connection.execute(_BEFORE, {"cases": sorted(work.cases), "ids": ids})).all()
    for row in sorted((row for row in rows if row.cause is not None), key=attrgetter("id")):
        if row.cause == ORDER or row.rule == CALL_BACK:
            work.opened[row.case_id] = row.at
        if row.cause == REPORT:
            work.reported[row.attempt_id] = Result(row.result)
        elif row.cause != ORDER:
            work.decided[row.call_id][row.case_id] = Result(row.result)
    received = sorted((row for row in rows if row.cause is None), key=attrgetter("received_at", "id"))
    last = {row.call_id: row.attributes for row in received}
    work.not_live = {call_id for call_id, attributes in last.items() if attributes.get("live") is False}
