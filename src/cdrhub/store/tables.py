"""The tables of the store. Their columns are a public contract: people query them.

`calls` and `call_legs` are what the fold makes of `records`; every column of theirs that stems from the vendor is a
field of `model.call`. Unique keys never start with `source`: on a table that PostgreSQL has not analysed yet, it would
take such an index for the key look-up and read all rows of that source.

There are no foreign keys: rows of one call are written in one transaction, and a check per row would cost a tenth of
the rate.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    and_,
    literal_column,
)
from sqlalchemy import text as sql
from sqlalchemy.types import TypeEngine

from cdrhub.model.call import Call, Leg
from cdrhub.model.record import DIGEST_BYTES
from cdrhub.model.update import LENGTHS, MAX_KEY, MAX_TEXT
from cdrhub.store.types import (
    HOUR_CHARACTERS,
    MARIADB_CHARSET,
    MARIADB_COLLATION,
    CallId,
    Cost,
    Json,
    UtcDateTime,
    body,
    digest,
    serial,
    text,
)

MAX_WORD = 32  #: characters of a word of ours: state, direction, role, type of a fact
MAX_SOURCE = 64  #: characters of a source's, a system's, a tenant's name
MAX_DETAIL = 1000  #: characters of why a record is in suspense
MAX_REVISION = 64  #: characters of a configuration's revision
MAX_CONTENT_TYPE = 255
MAX_EVENT_ID = 255

METADATA = MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
MARIADB_OPTIONS: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": MARIADB_CHARSET,
    "mariadb_collate": MARIADB_COLLATION,
    "mariadb_row_format": "DYNAMIC",
}

_WORDS = frozenset({"direction", "state", "disposition", "ended_by", "recording_state", "role", "outcome"})
_KEYS = frozenset({"call_key", "linked_key", "leg_key", "parent_leg"})


def _column_type(name: str, annotation: Any) -> TypeEngine[Any]:
    if annotation is datetime:
        return UtcDateTime()
    if annotation is int:
        return Integer()
    if annotation is Decimal:
        return Cost()
    if annotation is not str:
        return Json()
    if name in _WORDS:
        return text(MAX_WORD)
    return text(MAX_KEY if name in _KEYS else LENGTHS.get(name, MAX_TEXT))


def _columns_of(model: type[Call | Leg], *, without: frozenset[str] = frozenset()) -> list[Column[Any]]:
    """A column for each field of `model`, nullable where the field may be None."""
    hints = get_type_hints(model)
    columns: list[Column[Any]] = []
    for field in fields(model):
        if field.name in without:
            continue
        annotation = hints[field.name]
        optional = get_origin(annotation) is not None and NoneType in get_args(annotation)
        if optional:
            annotation = next(a for a in get_args(annotation) if a is not NoneType)
        columns.append(Column(field.name, _column_type(field.name, annotation), nullable=optional))
    return columns


calls = Table(
    "calls",
    METADATA,
    Column("id", CallId(), nullable=False),  # UUIDv7
    Column("source", text(MAX_SOURCE), nullable=False),  # the source's name in the configuration
    Column("system", text(MAX_WORD), nullable=False),  # 3cx, voicenter, freeswitch, astercc, enigma, …
    Column("tenant", text(MAX_SOURCE), nullable=False),
    *_columns_of(Call, without=frozenset({"legs", "final", "opened"})),
    Column("case_id", CallId(), nullable=True),  # when the call belongs to a redial case
    Column("attempt_id", CallId(), nullable=True),
    Column("sort_at", UtcDateTime(), nullable=False),  # Call.sort_at, else first_received_at
    Column("record_count", Integer(), nullable=False),
    Column("revision", Integer(), nullable=False),  # rises with every write of the row
    Column("first_received_at", UtcDateTime(), nullable=False),
    Column("last_received_at", UtcDateTime(), nullable=False),
    Column("updated_at", UtcDateTime(), nullable=False),
    Column("replaced_by", CallId(), nullable=True),  # of a withdrawn call: where its records went
    PrimaryKeyConstraint("id"),
    UniqueConstraint("call_key", "source"),
    Index(None, "sort_at", "id"),
    Index(None, "external_number", "sort_at"),
    **MARIADB_OPTIONS,
)

# Where the outside party is not found by `external_number`: the own side of a call, and both where there is none.
OWN_CALLER = sql("caller_number IS NOT NULL AND (direction <> 'inbound' OR external_number IS NULL)")
OWN_CALLEE = sql("callee_number IS NOT NULL AND (direction <> 'outbound' OR external_number IS NULL)")
DIALLED_OTHERWISE = sql("dialed_number IS NOT NULL AND (dialed_number <> callee_number OR callee_number IS NULL)")
for _name, _where in (
    ("caller_number", OWN_CALLER),
    ("callee_number", OWN_CALLEE),
    ("dialed_number", DIALLED_OTHERWISE),
):
    Index(None, calls.c[_name], calls.c.sort_at, postgresql_where=_where, sqlite_where=_where)

IS_OPEN = calls.c.state.in_([literal_column(f"'{state}'") for state in ("queued", "ringing", "answered")])
"""Of a call that has not ended: in words, not parameters, of which no plan that is reused could know that they fit the
index."""
Index("ix_calls_open", calls.c.state, calls.c.last_received_at, postgresql_where=IS_OPEN, sqlite_where=IS_OPEN)

call_legs = Table(
    "call_legs",
    METADATA,
    Column("call_id", CallId(), nullable=False),
    *_columns_of(Leg),
    Column("hour", text(HOUR_CHARACTERS), nullable=False),  # of offered_at, else of the call's sort_at
    PrimaryKeyConstraint("call_id", "leg_key"),
    Index(None, "role", "hour"),
    sqlite_with_rowid=False,
    **MARIADB_OPTIONS,
)

records = Table(
    "records",
    METADATA,
    Column("id", serial(), Identity(), nullable=False),  # people type it
    Column("source", text(MAX_SOURCE), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    Column("digest", digest(DIGEST_BYTES), nullable=False),
    Column("event_id", text(MAX_EVENT_ID), nullable=True),
    Column("content_type", text(MAX_CONTENT_TYPE), nullable=False),
    Column("body", body(), nullable=True),  # null once retention emptied it
    Column("repaired_body", body(), nullable=True),
    Column("attributes", Json(), nullable=False),
    Column("call_id", CallId(), nullable=True),
    Column("state", text(MAX_WORD), nullable=False),  # applied, ignored, suspended, discarded
    Column("reason", text(MAX_WORD), nullable=True),  # errors.Reason
    Column("detail", text(MAX_DETAIL), nullable=True),
    Column("decoder_revision", Integer(), nullable=False),
    Column("config_revision", text(MAX_REVISION), nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest", "source"),
    Index(None, "call_id"),
    **MARIADB_OPTIONS,
)
Index(
    "ix_records_suspended",
    records.c.state,
    records.c.id,
    postgresql_where=records.c.state == "suspended",
    sqlite_where=records.c.state == "suspended",
)

unopened = Table(
    "unopened",  # records of calls that no record has opened yet: they have no row in `calls`
    METADATA,
    Column("source", text(MAX_SOURCE), nullable=False),  # of the call
    Column("call_key", text(MAX_KEY), nullable=False),
    Column("record_source", text(MAX_SOURCE), nullable=False),
    Column("digest", digest(DIGEST_BYTES), nullable=False),
    Column("since", UtcDateTime(), nullable=False),
    PrimaryKeyConstraint("call_key", "source", "digest", "record_source"),
    Index(None, "since"),
    **MARIADB_OPTIONS,
)

record_audit = Table(
    "record_audit",
    METADATA,
    Column("id", serial(), Identity(), nullable=False),
    Column("record_id", serial(), nullable=False),
    Column("at", UtcDateTime(), nullable=False),
    Column("actor", text(MAX_TEXT), nullable=False),
    Column("action", text(MAX_WORD), nullable=False),  # edited, replayed, discarded
    Column("why", text(MAX_DETAIL), nullable=True),
    Column("before", Json(), nullable=True),
    Column("after", Json(), nullable=True),
    PrimaryKeyConstraint("id"),
    Index(None, "record_id"),
    **MARIADB_OPTIONS,
)

agent_states = Table(
    "agent_states",
    METADATA,
    Column("id", serial(), Identity(), nullable=False),
    Column("source", text(MAX_SOURCE), nullable=False),  # whose agents they are
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("agent_id", text(MAX_TEXT), nullable=False),
    Column("at", UtcDateTime(), nullable=False),  # AgentState.at, else received_at
    Column("kind", text(MAX_WORD), nullable=False),  # model.agent.AgentKind
    Column("state", text(MAX_WORD), nullable=False),  # model.agent.AgentWord
    Column("state_raw", text(MAX_TEXT), nullable=False),
    Column("reason", text(MAX_TEXT), nullable=True),
    Column("queue", text(MAX_TEXT), nullable=True),
    Column("sequence", BigInteger(), nullable=True),
    Column("flags", Json(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    Column("digest", digest(DIGEST_BYTES), nullable=False),  # of the message: agent_states.message_digest
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest", "source"),
    Index(None, "at", "id"),
    Index(None, "agent_id", "at"),
    **MARIADB_OPTIONS,
)

coverage = Table(
    "coverage",
    METADATA,
    Column("id", serial(), Identity(), nullable=False),
    Column("hub", text(MAX_TEXT), nullable=False),  # which daemon saw it
    Column("source", text(MAX_SOURCE), nullable=False),
    Column("since", UtcDateTime(), nullable=False),
    Column("until", UtcDateTime(), nullable=True),  # null: as far as the hub knew when it wrote
    Column("state", text(MAX_WORD), nullable=False),  # connected, idle, quiet, blind, backfilled
    Column("detail", text(MAX_DETAIL), nullable=False),
    PrimaryKeyConstraint("id"),
    Index(None, "since"),
    **MARIADB_OPTIONS,
)

config_revisions = Table(
    "config_revisions",
    METADATA,
    Column("revision", text(MAX_REVISION), nullable=False),
    Column("source", text(MAX_SOURCE), nullable=False),
    Column("system", text(MAX_WORD), nullable=False),
    Column("settings", Json(), nullable=False),
    Column("first_seen_at", UtcDateTime(), nullable=False),
    PrimaryKeyConstraint("revision"),
    **MARIADB_OPTIONS,
)

outbox = Table(
    "outbox",
    METADATA,
    Column("id", serial(), Identity(), nullable=False),
    Column("call_id", CallId(), nullable=True),  # null: a fact of a case that no call led to
    Column("source", text(MAX_SOURCE), nullable=False),
    Column("type", text(MAX_WORD), nullable=False),  # call.settled is the hub's own, all others are public
    Column("revision", Integer(), nullable=False),  # of the call, when this became true
    Column("due_at", UtcDateTime(), nullable=False),  # not to be acted on before
    Column("snapshot", Json(), nullable=True),
    Column("case_id", CallId(), nullable=True),
    Column("position", BigInteger(), nullable=True),  # dense; public facts get theirs once they are committed
    PrimaryKeyConstraint("id"),
    UniqueConstraint("position"),
    sqlite_autoincrement=True,  # rows are purged, and an id must never come again
    **MARIADB_OPTIONS,
)
Index(
    "ix_outbox_settled",
    outbox.c.type,
    outbox.c.due_at,
    postgresql_where=outbox.c.type == "call.settled",
    sqlite_where=outbox.c.type == "call.settled",
)
_UNNUMBERED = and_(outbox.c.position.is_(None), outbox.c.type != "call.settled")
Index(
    "ix_outbox_unnumbered",  # few, also while a million settled calls wait to be decided
    outbox.c.position,
    outbox.c.type,
    postgresql_where=_UNNUMBERED,
    sqlite_where=_UNNUMBERED,
)
