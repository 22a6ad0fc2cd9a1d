"""What one transaction makes of cases: their rows, their attempts and numbers, the decisions, and what is kept of the
calls that led to them. Collected, then written at its end with one statement for each table and kind of change, however
many cases there are.

The cases are locked, and who decides about several of them keeps in memory what it made of each, so nothing is read
back in between. Attempts that are over are written before new ones: the unique keys of the old are free then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, null, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Disposition
from cdrhub.redial.case_rows import live_agent
from cdrhub.redial.decision import Decision
from cdrhub.redial.model import Attempt, AttemptState, Case, Number
from cdrhub.store.event_tables import announcements
from cdrhub.store.one_of import OneOf
from cdrhub.store.redial_tables import attempts, case_numbers, cases, redial_decisions
from cdrhub.store.tables import MAX_DETAIL, calls, outbox
from cdrhub.store.together import Together

_SETTLE = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt"))
    .values(
        state=bindparam("new_state"),
        ended_at=bindparam("at"),
        outcome=func.coalesce(bindparam("result", type_=attempts.c.outcome.type), attempts.c.outcome),
        call_id=func.coalesce(bindparam("call", type_=attempts.c.call_id.type), attempts.c.call_id),
        live_case=null(),
        live_agent=null(),
    )
)
_ATTACH = (
    update(calls)
    .where(calls.c.id == bindparam("call"))
    .values(case_id=bindparam("case"), attempt_id=bindparam("attempt"))
)
_FIRST = insert(announcements).values(call_id=bindparam("call"), announced=bindparam("said"))
_AGAIN = update(announcements).where(announcements.c.call_id == bindparam("call")).values(announced=bindparam("said"))
_RESULT = (
    update(case_numbers)
    .where(case_numbers.c.case_id == bindparam("case"), case_numbers.c.match_key == bindparam("key"))
    .values(last_disposition=bindparam("result"), last_attempt_at=bindparam("at"))
)
_CHANGE = (
    update(cases)
    .where(cases.c.id == bindparam("case"))
    .values(
        state=bindparam("new_state"),
        state_reason=bindparam("reason"),
        round=bindparam("new_round"),
        next_action_at=bindparam("due_at"),
        next_key=bindparam("key"),
        updated_at=bindparam("at"),
        revision=cases.c.revision + 1,
    )
)
_PLACE = insert(attempts).values({column: bindparam(column.name) for column in attempts.c if column.name != "refusal"})
_DECIDE = insert(redial_decisions).values(
    {column: bindparam(column.name) for column in redial_decisions.c if column.name != "id"}
)
_DONE = delete(outbox).where(outbox.c.id == bindparam("fact"))
_ALL_DONE = delete(outbox).where(OneOf(outbox.c.id, "facts"))
# The keys of what is over are free, and the numbers are locked, before anything new is placed.
_OVER = Together(first=_FIRST, again=_AGAIN, attach=_ATTACH, settle=_SETTLE, result=_RESULT)
_NEXT = Together(place=_PLACE, change=_CHANGE, decide=_DECIDE, done=_DONE)


@dataclass(slots=True)
class Changes:
    """The changes of one transaction that decides at `now`."""

    now: datetime
    _announced: list[dict[str, Any]] = field(default_factory=list)
    _announced_again: list[dict[str, Any]] = field(default_factory=list)
    _attached: list[dict[str, Any]] = field(default_factory=list)
    _settled: list[dict[str, Any]] = field(default_factory=list)
    _results: list[dict[str, Any]] = field(default_factory=list)
    _placed: dict[str, dict[str, Any]] = field(default_factory=dict)
    _changed: list[dict[str, Any]] = field(default_factory=list)
    _decided: list[dict[str, Any]] = field(default_factory=list)
    _done: list[int] = field(default_factory=list)

    def announce(self, call_id: str, announced: Mapping[str, Any], *, again: bool) -> None:
        """This is told of the call, which is locked; `again`: something was told of it before."""
        rows = self._announced_again if again else self._announced
        rows.append({"call": call_id, "said": announced})

    def attach(self, call_id: str, *, case_id: str | None, attempt_id: str | None) -> None:
        """The call, which is locked, is of this case and attempt."""
        self._attached.append({"call": call_id, "case": case_id, "attempt": attempt_id})

    def done(self, ids: Sequence[int]) -> None:
        """These facts of the outbox are decided about."""
        self._done += ids

    def change(self, case: Case) -> None:
        """The case stands as `case` says."""
        self._changed.append(
            {
                "case": case.id,
                "new_state": case.state,
                "reason": case.state_reason,
                "new_round": case.round,
                "due_at": case.next_action_at,
                "key": case.next_key,
                "at": self.now,
            }
        )

    def place(self, case: Case, number: Number, attempt: Attempt, *, dialler: str = "") -> None:
        """The case has a new attempt on this number. A unique key refuses a live one where the case or its agent has
        one already."""
        self._placed[attempt.id] = {
            "id": attempt.id,
            "case_id": case.id,
            "tenant": case.tenant,
            "round": attempt.round,
            "number": number.number,
            "match_key": number.key,
            "e164": number.e164,
            "source": attempt.source,
            "dialler": dialler,
            "agent": attempt.agent,
            "placed_by": attempt.placed_by,
            "reference": attempt.reference,
            "vendor_ref": attempt.vendor_ref,
            "state": attempt.state,
            "outcome": attempt.outcome,
            "detail": "",
            "decided_at": self.now,
            "requested_at": attempt.requested_at,
            "deadline_at": attempt.deadline_at,
            "ended_at": attempt.ended_at,
            "call_id": attempt.call_id,
            "live_case": case.id if attempt.live else None,
            "live_agent": live_agent(attempt.source, attempt.agent) if attempt.live else None,
        }

    def settle(
        self,
        case: Case | None,
        attempt: Attempt,
        *,
        state: AttemptState,
        at: datetime,
        outcome: Disposition | None = None,
        call_id: str | None = None,
    ) -> None:
        """An attempt of the case is over: its unique keys are free for the next one, and its number knows its last
        result. `case` None: it was deleted."""
        if (placed := self._placed.get(attempt.id)) is not None:
            placed |= {"state": state, "ended_at": at, "live_case": None, "live_agent": None}
            placed["outcome"] = outcome or placed["outcome"]
            placed["call_id"] = call_id or placed["call_id"]
        else:
            self._settled.append(
                {"attempt": attempt.id, "new_state": state, "at": at, "result": outcome, "call": call_id}
            )
        if outcome is not None and case is not None:
            self._results.append({"case": case.id, "key": attempt.number_key, "result": outcome, "at": at})

    def decide(
        self,
        case: Case,
        decision: Decision,
        *,
        cause: str,
        mode: str,
        inputs: Mapping[str, Any],
        call: tuple[str, int] | None = None,
        attempt_id: str | None = None,
    ) -> None:
        """Keep a decision, also one that does nothing. `call` is (id, revision) of the call that led to it."""
        self._decided.append(
            {
                "at": self.now,
                "tenant": case.tenant,
                "case_id": case.id,
                "call_id": call[0] if call else None,
                "call_revision": call[1] if call else None,
                "attempt_id": attempt_id,
                "cause": cause,
                "result": decision.result,
                "rule": decision.rule,
                "detail": decision.detail[:MAX_DETAIL],
                "mode": mode,
                "inputs": {**inputs, **_what_follows(decision)},
            }
        )

    async def write(self, connection: AsyncConnection) -> None:
        """Write all of it."""
        # Numbers are locked in this order by who claims their attempts (`case_rows.numbers_locked`).
        self._results.sort(key=lambda row: (row["key"], row["case"]))
        await _OVER.execute(
            connection,
            {
                "first": self._announced,
                "again": self._announced_again,
                "attach": self._attached,
                "settle": self._settled,
                "result": self._results,
            },
        )
        await _NEXT.execute(
            connection,
            {
                "place": list(self._placed.values()),
                "change": self._changed,
                "decide": self._decided,
                "done": [{"fact": fact} for fact in self._done if len(self._done) == 1],
            },
        )
        if len(self._done) > 1:
            await connection.execute(_ALL_DONE, {"facts": self._done})


def _what_follows(decision: Decision) -> dict[str, Any]:
    """The number that is meant, its time, the reason of a pause: what a sentence about the decision needs."""
    said: dict[str, Any] = {"reason": decision.reason} if decision.reason else {}
    if decision.number is not None:
        said["next_number"] = decision.number.key
    if decision.due_at is not None:
        said["due_at"] = decision.due_at.isoformat()
    return said
