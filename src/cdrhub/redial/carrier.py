"""Carries a decision out, in the transaction that took it: the case's row, the next attempt, the public facts.

Changes and facts are collected in `Told` and written at the end, facts of a call before those of its case, so that a
receiver hears `call.hangup` before `redial.requested`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import orjson

from cdrhub.redial import case_rows
from cdrhub.redial.announcing import WITHDRAWN, Announcement
from cdrhub.redial.changes import Changes
from cdrhub.redial.decision import Decision, Result, with_attempt
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState, Number
from cdrhub.redial.policy import Mode
from cdrhub.redial.settings import Settings
from cdrhub.store.rows import FACT_COLUMNS, FOLDED_COLUMNS, Row
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction

ORDER = "order"  #: `redial_decisions.cause` of an order to dial
REPORT = "result"  #: `redial_decisions.cause` of what a person reported
OBSERVED = "observed"  #: `cases.state_reason` of a case that the mode `observe` would have dialled
REDIAL_OFF = "redial_off"  #: of one that would have been dialled in the mode `off`
NO_DIALLER = "no_dialler"  #: of one whose source names no dialler

_STATES = {
    Result.CONTACTED: CaseState.CONTACTED,
    Result.EXHAUSTED: CaseState.EXHAUSTED,
    Result.PAUSED: CaseState.PAUSED,
    Result.CANCELLED: CaseState.CANCELLED,
    Result.SCHEDULED: CaseState.WAITING,
    Result.NEXT: CaseState.DIALLING,
}
_EVENTS = {
    Result.CONTACTED: "case.contacted",
    Result.EXHAUSTED: "case.exhausted",
    Result.PAUSED: "case.paused",
    Result.CANCELLED: "case.cancelled",
    Result.SCHEDULED: "redial.scheduled",
    Result.NEXT: "redial.requested",
}
_OF_A_CALL = ("started_at", "answered_at", "ended_at", "disposition")
_FACT_COLUMNS = (*FACT_COLUMNS, "case_id")
_fact_values: Callable[[Mapping[str, Any]], Row] = itemgetter(*_FACT_COLUMNS)
_FAILED = frozenset({"agent_unavailable", "network", "dialler_configuration"})
"""Reasons of a pause after which the dialling itself is told as failed."""


@dataclass(slots=True)
class Consequences:
    """What one transaction changes, and its facts in the order in which they are told."""

    now: datetime
    rows: list[dict[str, Any]] = field(default_factory=list)
    changes: Changes = field(init=False)
    dial: bool = False
    results: Counter[str] = field(default_factory=Counter)
    _of_cases: list[dict[str, Any]] = field(default_factory=list)
    _ended: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changes = Changes(self.now)

    def call(
        self, announcement: Announcement, columns: Mapping[str, Any], *, case: Case | None, attempt: Attempt | None
    ) -> None:
        """A fact of a call, with what its case says of it; it is remembered."""
        self._ended[columns["id"]] = columns
        if announcement.announced is not None:
            self.changes.announce(columns["id"], announcement.announced, again=columns["announced"] is not None)
        snapshot: dict[str, Any] = {name: columns[name] for name in FOLDED_COLUMNS}
        snapshot |= {
            name: columns[name]
            for name in ("id", "source", "system", "tenant", "call_key", "revision", "attributes", "flags")
        }
        snapshot |= _case_fields(case, attempt, destination=columns["external_number"])
        if announcement.changed:
            snapshot["changed"] = list(announcement.changed)
        if announcement.type == WITHDRAWN:
            snapshot["replaced_by"] = columns["replaced_by"]
        self.rows.append(
            {
                "call_id": columns["id"],
                "source": columns["source"],
                "type": announcement.type,
                "revision": columns["revision"],
                "due_at": self.now,
                "snapshot": snapshot,
                "case_id": case.id if case is not None else None,
            }
        )

    def case(
        self,
        kind: str,
        case: Case,
        *,
        key: str,
        call_id: str | None,
        attempt: Attempt | None,
        details: Mapping[str, Any],
    ) -> None:
        """A fact of a case. `key` is what makes it one: the same fact told twice has the same key."""
        snapshot = {
            "key": key,
            "source": case.source,
            "tenant": case.tenant,
            "call_id": call_id,
            "metadata": dict(case.metadata),
            **_case_fields(case, attempt, destination=None),
            **details,
        }
        self._of_cases.append(
            {
                "call_id": call_id,
                "source": case.source,
                "type": kind,
                "revision": 0,
                "due_at": self.now,
                "snapshot": snapshot,
                "case_id": case.id,
            }
        )

    def flush(self) -> None:
        """What was told of cases follows what was told of their call, and says how that ended; but for a new attempt,
        of which there is no call yet."""
        for row in self._of_cases:
            call = self._ended.get(row["call_id"])
            if call is not None and row["type"] != _EVENTS[Result.NEXT]:
                row["snapshot"] |= {name: call[name] for name in _OF_A_CALL}
        self.rows += self._of_cases
        self._of_cases.clear()

    async def write(self, tx: Transaction) -> None:
        """Write the changes, and what is told into the outbox."""
        self.flush()
        await self.changes.write(tx.connection)
        await tx.append(outbox, _FACT_COLUMNS, [_fact_row(row) for row in self.rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """Carries decisions out under these settings. `dialler` names the dialler of a source."""

    settings: Settings
    dialler: Callable[[str], str]

    def carry_out(
        self,
        case: Case,
        decision: Decision,
        consequences: Consequences,
        *,
        cause: str,
        inputs: Mapping[str, Any],
        call: tuple[str, int] | None = None,
        attempt: Attempt | None = None,
        reference: str = "",
        round_: int | None = None,
    ) -> Case:
        """Add what follows from `decision` about a case that is locked to `consequences`; the case as it then is.

        `attempt` is the one that led to the decision, already settled; `reference` the integrator's, for the next one
        (that of `attempt` otherwise); `round_` opens a round.
        """
        mode = self.settings.mode
        hindrance = self._hindrance(case) if decision.goes_on else ""
        consequences.changes.decide(
            case,
            decision,
            cause=cause,
            mode=mode,
            inputs={**inputs, "hindrance": hindrance} if hindrance else inputs,
            call=call,
            attempt_id=attempt.id if attempt is not None else None,
        )
        consequences.results[decision.result] += 1
        if decision.result is Result.NOTHING:
            return self._follow_attempt(case, consequences)
        if round_ is not None:
            case = replace(case, round=round_)
        if hindrance:
            decision = replace(decision, result=Result.PAUSED, reason=hindrance)
        if decision.result is not Result.NEXT:
            case = self._drop_pending(case, consequences)
        placed: Attempt | None = None
        if decision.result is Result.NEXT and decision.number is not None:
            next_reference = reference or (attempt.reference if attempt is not None else "")
            placed = self._place(case, decision.number, consequences, reference=next_reference)
            case = with_attempt(case, placed)
            consequences.dial = True
        case = replace(
            case,
            state=_STATES[decision.result],
            state_reason=decision.rule if decision.result is Result.SCHEDULED else decision.reason,
            next_action_at=decision.due_at if decision.result is Result.SCHEDULED else None,
            next_key=_next_key(case, decision),
        )
        consequences.changes.change(case)
        call_id = call[0] if call is not None else None
        _tell(case, decision, consequences, call_id=call_id, about=placed or attempt)
        return case

    def _place(self, case: Case, number: Number, consequences: Consequences, *, reference: str) -> Attempt:
        attempt = Attempt(
            id=case_rows.new_attempt_id(case),
            round=case.round,
            key=number.key,
            state=AttemptState.DECIDED,
            source=case.source,
            agent=case.agent,
            reference=reference,
        )
        consequences.changes.place(case, number, attempt, dialler=self.dialler(case.source))
        return attempt

    def _drop_pending(self, case: Case, consequences: Consequences) -> Case:
        """What is pending of a case ends: what has not left is cancelled, what has left is superseded."""
        for attempt in case.attempts:
            if not attempt.live:
                continue
            state = AttemptState.CANCELLED if attempt.state is AttemptState.DECIDED else AttemptState.SUPERSEDED
            consequences.changes.settle(case, attempt, state=state, at=consequences.now)
            case = with_attempt(case, replace(attempt, state=state, ended_at=consequences.now))
        return case

    def _hindrance(self, case: Case) -> str:
        """Why nothing can be dialled for this case, whatever its rules say; it then waits for a person."""
        match self.settings.mode:
            case Mode.OBSERVE:
                return OBSERVED
            case Mode.OFF:
                return REDIAL_OFF
            case Mode.ON:
                return "" if self.dialler(case.source) else NO_DIALLER

    def _follow_attempt(self, case: Case, consequences: Consequences) -> Case:
        """Nothing follows, and no attempt of the case is live any more: it is not dialling."""
        if case.state is not CaseState.DIALLING or case.live_attempt is not None:
            return case
        case = replace(case, state=CaseState.OPEN, state_reason="", next_action_at=None, next_key="")
        consequences.changes.change(case)
        return case


def _next_key(case: Case, decision: Decision) -> str:
    """The number that is meant from now on. A case that is paused keeps the one that it had, which it may owe a call
    (`when_resumed`)."""
    if decision.number is not None:
        return decision.number.key
    return case.next_key if decision.result is Result.PAUSED else ""


def _tell(
    case: Case, decision: Decision, consequences: Consequences, *, call_id: str | None, about: Attempt | None
) -> None:
    """The facts of a decision that was carried out; `about` is the attempt that was placed, else the one that led to
    it."""
    details: dict[str, Any] = {"rule": decision.rule, "detail": decision.detail, "reason": decision.reason}
    if decision.number is not None and decision.goes_on:
        details["number"] = decision.number.key
        details["due_at"] = (decision.due_at or consequences.now).astimezone(UTC).isoformat()
    key = f"{case.id}/{about.id if about is not None else call_id or ''}/{decision.result}"
    if decision.reason in _FAILED:
        consequences.case("redial.failed", case, key=f"{key}/failed", call_id=call_id, attempt=about, details=details)
    consequences.case(_EVENTS[decision.result], case, key=key, call_id=call_id, attempt=about, details=details)


def _case_fields(case: Case | None, attempt: Attempt | None, *, destination: str | None) -> dict[str, Any]:
    """What every event of a case carries (docs/events.md)."""
    if case is None:
        return {}
    return {
        "case_id": case.id,
        "case_code": case.code,
        "round": case.round,
        "agent": case.agent,
        "attempt_id": attempt.id if attempt is not None else None,
        "reference": attempt.reference if attempt is not None else "",
        "destination": destination or (attempt.key if attempt is not None else None),
    }


def _fact_row(row: Mapping[str, Any]) -> Row:
    """The row of `outbox`; money in its snapshot is text, as times are."""
    return _fact_values({**row, "snapshot": orjson.dumps(row["snapshot"], default=str).decode()})
