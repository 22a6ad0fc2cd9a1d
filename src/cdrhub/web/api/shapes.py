"""What the API takes and answers, as pydantic models: the OpenAPI document is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationInfo, create_model, field_validator

from cdrhub.model.call import Call, Leg
from cdrhub.model.disposition import Direction, Disposition, State
from cdrhub.redial.decision import Decision, Result
from cdrhub.redial.given import MAX_NUMBERS
from cdrhub.redial.model import AttemptState, CaseState, PlacedBy, Reported
from cdrhub.redial.wording import in_words
from cdrhub.store.tables import calls as calls_table
from cdrhub.web.api.operation import Body, OfTenant, Paged
from cdrhub.web.api.texts import Code, Detail, GivenNumberText, Label, Metadata, Moment, Name, SomeWord, Word, Zone


class Scope(StrEnum):
    """What a pause holds."""

    ALL = "all"
    SOURCE = "source"
    CAMPAIGN = "campaign"
    AGENT = "agent"


# -- what is sent ------------------------------------------------------------------------------------------------------


class NumberGiven(Body):
    """A telephone number of a case."""

    number: GivenNumberText = Field(description="In any spelling that the source's region understands.")
    label: Label = Field("", description="The integrator's word for it, e.g. mobile.")
    do_not_call: StrictBool = Field(False, description="Whether it is kept with the case and not dialled for it.")


class CaseChange(Body):
    """A case but for its code."""

    source: Name = Field(description="The phone system that dials: a name of the configuration.")
    numbers: list[NumberGiven] = Field(max_length=MAX_NUMBERS, description="In the order in which they are tried.")
    agent: Word = Field("", description="For whom the calls are; an order to dial may name another one.")
    campaign: Word = Field("", description="What the case belongs to; can be paused as a whole.")
    timezone: Zone = Field("", description="IANA zone of the person; empty: that of the number.")
    metadata: Metadata = Field(default_factory=dict, description="Returned in every event of the case.")


class CaseGiven(CaseChange):
    """A case."""

    code: Code = Field(description="The integrator's own, unique within the tenant.")


class DialOrdered(Body):
    """An order to dial."""

    agent: Word = Field("", description="For whom; empty: the case's.")
    reference: Label = Field("", description="The integrator's own, returned in every event, e.g. a media id.")


class AttemptAnnounced(Body):
    """A CRM dials by itself."""

    number: GivenNumberText = Field(description="What it dials, in any spelling.")
    agent: Word = Field("", description="For whom; empty: the case's.")
    reference: Label = Field("", description="The integrator's own, returned in every event.")


class CaseStopped(Body):
    """A case that is not wanted any more."""

    why: Detail = Field("", description="For the decisions.")


class CaseResumed(Body):
    """A paused case goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    count_as: Literal["not_reached"] | None = Field(
        None,
        alias="as",
        description="What becomes of an attempt of which nobody knows the end: it did not reach anybody.",
    )


class ResultReported(Body):
    """What a person says of an attempt."""

    result: Reported = Field(description="What became of it.")
    at: Moment | None = Field(
        None, validate_default=True, description="When a call-back is wanted, which needs it; with an offset."
    )

    @field_validator("at")
    @classmethod
    def _of_a_callback(cls, at: datetime | None, told: ValidationInfo) -> datetime | None:
        if at is None and told.data.get("result") is Reported.CALLBACK:
            raise ValueError("a call-back needs the time at which it is wanted")
        return at


class DoNotCallGiven(Body):
    """A number that must not be called."""

    number: GivenNumberText = Field(description="In any spelling that the source's region understands.")
    read_as: Name = Field(description="A source: whose region reads the number, and whose tenant's list it goes to.")
    source: Word = Field("api", description="Who says so: a registry, a person.")
    until: Moment | None = Field(None, description="Until when; null: for ever.")


class PauseOrdered(Body):
    """A part of redial that shall rest."""

    scope: Scope = Field(Scope.ALL, description="What rests.")
    name: Word = Field("", description="Which source, campaign or agent; empty for all.")
    why: Detail = Field("", description="Shown to whoever wonders.")


class PauseEnded(Body):
    """A part of redial that shall go on."""

    scope: Scope = Field(Scope.ALL, description="What goes on.")
    name: Word = Field("", description="Which source, campaign or agent; empty for all.")


# -- queries -----------------------------------------------------------------------------------------------------------


class CaseQuery(Paged):
    """Which cases."""

    state: CaseState | None = Field(None, description="Where they stand.")
    reason: Word | None = Field(None, description="Why they are paused or waiting.")
    source: Name | None = Field(None, description="The phone system that dials.")
    agent: Word | None = Field(None, description="For whom.")
    campaign: Word | None = Field(None, description="What they belong to.")
    number: GivenNumberText | None = Field(None, description="One of their numbers, in any spelling.")


class DecisionQuery(Paged):
    """Which decisions about a case."""


class DoNotCallQuery(Paged):
    """Which numbers of the do-not-call list."""

    number: GivenNumberText | None = Field(None, description="This number, in any spelling.")


class DoNotCallNamed(OfTenant):
    """A number of the do-not-call list."""

    number: GivenNumberText = Field(description="In any spelling that the source's region understands.")
    read_as: Name = Field(description="A source: whose region reads the number, and whose tenant's list is meant.")


class CallQuery(Paged):
    """Which calls."""

    since: Moment | None = Field(None, description="From this moment on, by `sort_at`; with an offset.")
    until: Moment | None = Field(None, description="Before this moment (exclusive).")
    source: Name | None = Field(None, description="Of this source.")
    queue: SomeWord | None = Field(None, description="A queue's name or id.")
    agent: SomeWord | None = Field(None, description="An agent's id, extension or name.")
    number: GivenNumberText | None = Field(None, description="On any side, in any spelling.")
    disposition: Disposition | None = Field(None, description="That ended so.")
    direction: Direction | None = Field(None, description="That went so.")
    state: State | None = Field(None, description="In this state; without it all but `withdrawn`.")


# -- what is answered --------------------------------------------------------------------------------------------------


class Shown(BaseModel):
    """A row as it is answered."""

    model_config = ConfigDict(extra="ignore")


class NumberShown(Shown):
    """A telephone number of a case."""

    position: int
    number: str = Field(description="As given.")
    e164: str | None
    label: str
    do_not_call: bool


class AttemptShown(Shown):
    """An order to dial one number, or a call that counts as one."""

    id: str
    case_id: str
    round: int
    number: str
    e164: str | None
    source: str
    dialler: str
    agent: str
    placed_by: PlacedBy
    reference: str
    vendor_ref: str
    state: AttemptState
    outcome: Disposition | None
    refusal: str | None
    detail: str
    decided_at: datetime
    requested_at: datetime | None
    deadline_at: datetime | None
    ended_at: datetime | None
    call_id: str | None


class AttemptWithCase(AttemptShown):
    """An attempt, with its case's code."""

    case_code: str | None


class CaseShown(Shown):
    """A case."""

    id: str
    tenant: str
    code: str
    source: str
    agent: str
    campaign: str
    timezone: str
    metadata: dict[str, Any]
    state: CaseState
    state_reason: str
    round: int
    next_action_at: datetime | None
    next_key: str = Field(description="The number that is then due; of a paused case the one that was meant.")
    numbers: list[NumberShown]
    created_at: datetime
    updated_at: datetime
    revision: int


class CaseWithAttempts(CaseShown):
    """A case with its attempts, oldest first."""

    attempts: list[AttemptShown]


class CasePage(BaseModel):
    """Some cases, the newest first."""

    cases: list[CaseShown]
    next: str | None = Field(description="`after` of the next page; null: there is none.")


class DecisionShown(BaseModel):
    """What was decided, and by which rule."""

    result: Result
    rule: str
    detail: str
    reason: str
    number: str | None
    due_at: datetime | None

    @classmethod
    def of(cls, decision: Decision) -> DecisionShown:
        """A decision that was just taken."""
        return cls(
            result=decision.result,
            rule=decision.rule,
            detail=decision.detail,
            reason=decision.reason,
            number=decision.number.key if decision.number is not None else None,
            due_at=decision.due_at,
        )


class Ordered(BaseModel):
    """What an order led to."""

    decision: DecisionShown
    case: CaseWithAttempts


class Announced(BaseModel):
    """The attempt that was announced."""

    attempt_id: str


class DecisionKept(Shown):
    """A decision about a case, also one that did nothing, with its inputs."""

    id: int
    at: datetime
    cause: str
    result: str
    rule: str
    detail: str
    mode: str
    inputs: Any
    attempt_id: str | None
    number: str | None = Field(description="That of the attempt.")
    call_id: str | None
    call_revision: int | None
    words: str = Field(description="All of it as a sentence.")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> DecisionKept:
        """A row of `redial_decisions`."""
        inputs = {
            name: _moment(value) if name.endswith("_at") else value for name, value in (row["inputs"] or {}).items()
        }
        return cls.model_validate({**row, "inputs": inputs, "words": in_words(row)})


def _moment(kept: str | None) -> datetime | None:
    """A time as it stands in JSON, to be answered as every other one is."""
    return datetime.fromisoformat(kept) if kept is not None else None


class DecisionPage(BaseModel):
    """Some decisions about a case, the oldest first."""

    decisions: list[DecisionKept]
    next: str | None = Field(description="`after` of the next page; null: there is none.")


class DoNotCallShown(Shown):
    """A number that must not be called."""

    tenant: str
    match_key: str = Field(description="E.164, else the digits.")
    e164: str | None
    source: str
    checked_at: datetime
    until: datetime | None


class DoNotCallPage(BaseModel):
    """Some numbers of the do-not-call list, by number."""

    numbers: list[DoNotCallShown]
    next: str | None = Field(description="`after` of the next page; null: there is none.")


class PauseShown(Shown):
    """A part of redial that rests."""

    scope: Scope
    name: str
    at: datetime
    actor: str
    why: str


class RedialShown(BaseModel):
    """How redial stands."""

    mode: str
    pauses: list[PauseShown]


def _row_model(name: str, doc: str, model: type[Call | Leg], others: Mapping[str, Any], *, without: set[str]) -> Any:
    """A model of a table's columns: the fields of the domain type and `others`."""
    columns = {field: kind for field, kind in get_type_hints(model).items() if field not in without}
    shapes: dict[str, Any] = {field: (kind, ...) for field, kind in {**columns, **others}.items()}
    made = create_model(name, __base__=Shown, __module__=__name__, **shapes)
    made.__doc__ = doc
    return made


CallShown: type[BaseModel] = _row_model(
    "CallShown",
    "A call: every column of `calls` (docs/model.md).",
    Call,
    {
        "id": str,
        "source": str,
        "system": str,
        "tenant": str,
        "case_id": str | None,
        "attempt_id": str | None,
        "sort_at": datetime,
        "record_count": int,
        "revision": int,
        "first_received_at": datetime,
        "last_received_at": datetime,
        "updated_at": datetime,
        "replaced_by": str | None,
    },
    without={"legs", "final", "opened"},
)
LegShown: type[BaseModel] = _row_model(
    "LegShown", "A leg: every column of `call_legs`.", Leg, {"call_id": str, "hour": str}, without=set()
)

assert set(CallShown.model_fields) == set(calls_table.columns.keys())  # noqa: S101 - a column was added


class CallPage(BaseModel):
    """Some calls, the newest first."""

    calls: list[CallShown]  # type: ignore[valid-type]
    next: str | None = Field(description="`after` of the next page; null: there is none.")


class CallWithLegs(BaseModel):
    """A call with its legs."""

    call: CallShown  # type: ignore[valid-type]
    legs: list[LegShown]  # type: ignore[valid-type]
