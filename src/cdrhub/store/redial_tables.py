"""The tables of redial: cases, their numbers, attempts, decisions. Their columns are a public contract.

Two nullable columns with a plain unique key carry the promise that nobody is rung twice, the same on every engine:
`attempts.live_case` (one live attempt of a case) and `attempts.live_agent` (one of an agent). They hold a value while
the attempt is decided, requested or accepted, and null once it is over: null is equal to nothing.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Identity, Index, Integer, PrimaryKeyConstraint, Table, UniqueConstraint

from cdrhub.model.update import MAX_KEY, MAX_TEXT
from cdrhub.store.tables import MARIADB_OPTIONS, MAX_DETAIL, MAX_SOURCE, MAX_WORD, METADATA
from cdrhub.store.types import CallId, Json, UtcDateTime, serial, text

MAX_CODE = 128  #: characters of a case's code, of a number's label, of an integrator's reference
MAX_NUMBER = 64  #: characters of a telephone number and of what two spellings of it have in common
MAX_ZONE = 64  #: characters of an IANA name

cases = Table(
    "cases",
    METADATA,
    Column("id", CallId(), nullable=False),  # UUIDv7
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("code", text(MAX_CODE), nullable=False),  # the integrator's, unique within the tenant
    Column("source", text(MAX_SOURCE), nullable=False),  # the phone system that dials
    Column("agent", text(MAX_TEXT), nullable=False),
    Column("campaign", text(MAX_TEXT), nullable=False),
    Column("timezone", text(MAX_ZONE), nullable=False),  # of the person; empty: that of the number
    Column("metadata", Json(), nullable=False),
    Column("state", text(MAX_WORD), nullable=False),  # redial.model.CaseState
    Column("state_reason", text(MAX_WORD), nullable=False),
    Column("round", Integer(), nullable=False),  # 0 until the first order to dial
    Column("next_action_at", UtcDateTime(), nullable=True),  # of a waiting case
    Column("next_key", text(MAX_NUMBER), nullable=False),  # the number that is then due
    Column("created_at", UtcDateTime(), nullable=False),
    Column("updated_at", UtcDateTime(), nullable=False),
    Column("revision", Integer(), nullable=False),  # rises with every write of the row
    PrimaryKeyConstraint("id"),
    UniqueConstraint("code", "tenant"),
    Index(None, "next_action_at"),
    Index(None, "state", "id"),
    **MARIADB_OPTIONS,
)

case_numbers = Table(
    "case_numbers",
    METADATA,
    Column("case_id", CallId(), nullable=False),
    Column("position", Integer(), nullable=False),  # from 1, the order of trying
    Column("number", text(MAX_NUMBER), nullable=False),  # as given
    Column("match_key", text(MAX_NUMBER), nullable=False),  # E.164, else the digits
    Column("e164", text(MAX_NUMBER), nullable=True),
    Column("label", text(MAX_CODE), nullable=False),
    Column("do_not_call", Boolean(), nullable=False),
    Column("last_disposition", text(MAX_WORD), nullable=True),
    Column("last_attempt_at", UtcDateTime(), nullable=True),
    PrimaryKeyConstraint("case_id", "position"),
    Index(None, "match_key"),
    **MARIADB_OPTIONS,
)

deleted_cases = Table(
    "deleted_cases",  # what one has again that is made again under its code
    METADATA,
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("code", text(MAX_CODE), nullable=False),
    Column("case_id", CallId(), nullable=False),
    Column("round", Integer(), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    PrimaryKeyConstraint("code", "tenant"),
    **MARIADB_OPTIONS,
)

attempts = Table(
    "attempts",
    METADATA,
    Column("id", CallId(), nullable=False),  # UUIDv7; the reference that the vendor is given
    Column("case_id", CallId(), nullable=False),
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("round", Integer(), nullable=False),
    Column("number", text(MAX_NUMBER), nullable=False),
    Column("match_key", text(MAX_NUMBER), nullable=False),
    Column("e164", text(MAX_NUMBER), nullable=True),
    Column("source", text(MAX_SOURCE), nullable=False),
    Column("dialler", text(MAX_SOURCE), nullable=False),
    Column("agent", text(MAX_TEXT), nullable=False),
    Column("placed_by", text(MAX_WORD), nullable=False),  # hub, api, agent
    Column("reference", text(MAX_CODE), nullable=False),  # the integrator's, returned in every event
    Column("vendor_ref", text(MAX_KEY), nullable=False),
    Column("state", text(MAX_WORD), nullable=False),  # redial.model.AttemptState
    Column("outcome", text(MAX_WORD), nullable=True),  # a disposition
    Column("refusal", text(MAX_WORD), nullable=True),  # model.dialling.Refusal
    Column("detail", text(MAX_DETAIL), nullable=False),
    Column("decided_at", UtcDateTime(), nullable=False),
    Column("requested_at", UtcDateTime(), nullable=True),
    Column("deadline_at", UtcDateTime(), nullable=True),  # after which the vendor is asked
    Column("ended_at", UtcDateTime(), nullable=True),
    Column("call_id", CallId(), nullable=True),
    Column("live_case", CallId(), nullable=True),
    Column("live_agent", text(MAX_KEY), nullable=True),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("live_case"),
    UniqueConstraint("live_agent"),
    Index(None, "case_id", "id"),
    Index(None, "match_key", "requested_at"),
    Index(None, "vendor_ref"),
    Index(None, "call_id"),
    Index(None, "state", "deadline_at"),
    **MARIADB_OPTIONS,
)

redial_decisions = Table(
    "redial_decisions",
    METADATA,
    Column("id", serial(), Identity(), nullable=False),
    Column("at", UtcDateTime(), nullable=False),
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("case_id", CallId(), nullable=False),
    Column("call_id", CallId(), nullable=True),
    Column("call_revision", Integer(), nullable=True),
    Column("attempt_id", CallId(), nullable=True),
    Column("cause", text(MAX_WORD), nullable=False),  # call, order, due, anew, refusal, deadline, result, …
    Column("result", text(MAX_WORD), nullable=False),  # redial.decision.Result
    Column("rule", text(MAX_WORD), nullable=False),
    Column("detail", text(MAX_DETAIL), nullable=False),
    Column("mode", text(MAX_WORD), nullable=False),  # off, observe, on
    Column("inputs", Json(), nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("call_id", "case_id", "call_revision"),
    Index(None, "case_id", "id"),
    **MARIADB_OPTIONS,
)

do_not_call = Table(
    "do_not_call",
    METADATA,
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("match_key", text(MAX_NUMBER), nullable=False),
    Column("e164", text(MAX_NUMBER), nullable=True),
    Column("source", text(MAX_TEXT), nullable=False),  # who says so: a registry, an agent, a file
    Column("checked_at", UtcDateTime(), nullable=False),
    Column("until", UtcDateTime(), nullable=True),  # null: for ever
    PrimaryKeyConstraint("match_key", "tenant"),
    **MARIADB_OPTIONS,
)

redial_pauses = Table(
    "redial_pauses",
    METADATA,
    Column("scope", text(MAX_WORD), nullable=False),  # all, source, campaign, agent
    Column("name", text(MAX_TEXT), nullable=False),  # empty for all
    Column("at", UtcDateTime(), nullable=False),
    Column("actor", text(MAX_TEXT), nullable=False),
    Column("why", text(MAX_DETAIL), nullable=False),
    PrimaryKeyConstraint("scope", "name"),
    **MARIADB_OPTIONS,
)

redial_watch = Table(
    "redial_watch",
    METADATA,
    Column("name", text(MAX_WORD), nullable=False),  # what is watched: dialling
    Column("since", UtcDateTime(), nullable=False),  # a hub has dialled, with no longer pause than max_age_seconds
    Column("looked_at", UtcDateTime(), nullable=False),  # when one looked last
    PrimaryKeyConstraint("name"),
    **MARIADB_OPTIONS,
)
