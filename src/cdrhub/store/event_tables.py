"""The tables of the broadcast: what was told of calls, leases, endpoints, deliveries, answers to repeated requests."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Table

from cdrhub.model.update import MAX_TEXT
from cdrhub.store.tables import MARIADB_OPTIONS, MAX_DETAIL, MAX_SOURCE, MAX_WORD, METADATA
from cdrhub.store.types import CallId, Json, UtcDateTime, digest, text

DISABLED = "disabled"  #: `webhook_endpoints.state`: nothing is sent until a person says so

announcements = Table(
    "announcements",  # apart from `calls`, whose rows are wide and have many index entries to write again
    METADATA,
    Column("call_id", CallId(), nullable=False),
    Column("announced", Json(), nullable=False),  # redial.announcing.Announcement
    PrimaryKeyConstraint("call_id"),
    **MARIADB_OPTIONS,
)

leases = Table(
    "leases",
    METADATA,
    Column("name", text(MAX_SOURCE), nullable=False),  # what only one hub does at a time
    Column("holder", text(MAX_TEXT), nullable=False),
    Column("fence", BigInteger(), nullable=False),  # rises with every change of holder
    Column("until", UtcDateTime(), nullable=False),  # by the database's clock
    PrimaryKeyConstraint("name"),
    **MARIADB_OPTIONS,
)

webhook_endpoints = Table(
    "webhook_endpoints",
    METADATA,
    Column("name", text(MAX_SOURCE), nullable=False),  # in the configuration
    Column("cursor", BigInteger(), nullable=False),  # position up to which everything is delivered or set aside
    Column("state", text(MAX_WORD), nullable=False),  # healthy, failing, disabled
    Column("attempt", Integer(), nullable=False),  # of the oldest event, while failing
    Column("failing_since", UtcDateTime(), nullable=True),
    Column("next_at", UtcDateTime(), nullable=True),  # not to be tried before
    Column("last_status", Integer(), nullable=True),  # of HTTP
    Column("last_error", text(MAX_DETAIL), nullable=True),
    Column("updated_at", UtcDateTime(), nullable=False),
    PrimaryKeyConstraint("name"),
    **MARIADB_OPTIONS,
)

deliveries = Table(
    "deliveries",  # single events that an endpoint refused, or that somebody asked for again
    METADATA,
    Column("endpoint", text(MAX_SOURCE), nullable=False),
    Column("position", BigInteger(), nullable=False),
    Column("state", text(MAX_WORD), nullable=False),  # refused, retry, delivered
    Column("attempts", Integer(), nullable=False),
    Column("next_at", UtcDateTime(), nullable=True),
    Column("last_status", Integer(), nullable=True),
    Column("last_error", text(MAX_DETAIL), nullable=True),
    Column("updated_at", UtcDateTime(), nullable=False),
    PrimaryKeyConstraint("endpoint", "position"),
    **MARIADB_OPTIONS,
)

request_keys = Table(
    "request_keys",  # answers to requests with an Idempotency-Key
    METADATA,
    Column("tenant", text(MAX_SOURCE), nullable=False),
    Column("idempotency_key", text(MAX_TEXT), nullable=False),
    Column("digest", digest(16), nullable=False),  # of the request
    Column("status", Integer(), nullable=False),
    Column("answer", Json(), nullable=True),
    Column("at", UtcDateTime(), nullable=False),
    PrimaryKeyConstraint("idempotency_key", "tenant"),
    **MARIADB_OPTIONS,
)
