"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cdrhub.store import types

revision = "0001"
down_revision = None

MARIADB: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "mariadb_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Make all tables. MariaDB commits each step: it may have ended in the middle."""
    op.create_table(
        "call_legs",
        sa.Column("call_id", types.CallId(), nullable=False),
        sa.Column("leg_key", types.text(255), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("role", types.text(32), nullable=False),
        sa.Column("outcome", types.text(32), nullable=False),
        sa.Column("parent_leg", types.text(255), nullable=True),
        sa.Column("number", types.text(255), nullable=True),
        sa.Column("agent_id", types.text(255), nullable=True),
        sa.Column("agent_name", types.text(255), nullable=True),
        sa.Column("agent_extension", types.text(255), nullable=True),
        sa.Column("queue_id", types.text(255), nullable=True),
        sa.Column("queue", types.text(255), nullable=True),
        sa.Column("team", types.text(255), nullable=True),
        sa.Column("offered_at", types.UtcDateTime(), nullable=True),
        sa.Column("answered_at", types.UtcDateTime(), nullable=True),
        sa.Column("left_at", types.UtcDateTime(), nullable=True),
        sa.Column("ring_seconds", sa.Integer(), nullable=True),
        sa.Column("talk_seconds", sa.Integer(), nullable=True),
        sa.Column("hold_seconds", sa.Integer(), nullable=True),
        sa.Column("cause", types.text(255), nullable=True),
        sa.PrimaryKeyConstraint("call_id", "leg_key"),
        if_not_exists=True,
        **MARIADB,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "calls",
        sa.Column("id", types.CallId(), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("system", types.text(32), nullable=False),
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("call_key", types.text(255), nullable=False),
        sa.Column("linked_key", types.text(255), nullable=True),
        sa.Column("direction", types.text(32), nullable=False),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("disposition", types.text(32), nullable=True),
        sa.Column("disposition_raw", types.text(255), nullable=True),
        sa.Column("type_raw", types.text(255), nullable=True),
        sa.Column("cause", types.text(255), nullable=True),
        sa.Column("ended_by", types.text(32), nullable=True),
        sa.Column("caller_number", types.text(255), nullable=True),
        sa.Column("caller_name", types.text(255), nullable=True),
        sa.Column("callee_number", types.text(255), nullable=True),
        sa.Column("callee_name", types.text(255), nullable=True),
        sa.Column("dialed_number", types.text(255), nullable=True),
        sa.Column("did", types.text(255), nullable=True),
        sa.Column("trunk", types.text(255), nullable=True),
        sa.Column("caller_e164", types.text(255), nullable=True),
        sa.Column("callee_e164", types.text(255), nullable=True),
        sa.Column("external_number", types.text(255), nullable=True),
        sa.Column("agent_id", types.text(255), nullable=True),
        sa.Column("agent_name", types.text(255), nullable=True),
        sa.Column("agent_extension", types.text(255), nullable=True),
        sa.Column("team", types.text(255), nullable=True),
        sa.Column("queue", types.text(255), nullable=True),
        sa.Column("queue_id", types.text(255), nullable=True),
        sa.Column("campaign", types.text(255), nullable=True),
        sa.Column("contact_ref", types.text(255), nullable=True),
        sa.Column("started_at", types.UtcDateTime(), nullable=True),
        sa.Column("queued_at", types.UtcDateTime(), nullable=True),
        sa.Column("ringing_at", types.UtcDateTime(), nullable=True),
        sa.Column("connected_at", types.UtcDateTime(), nullable=True),
        sa.Column("answered_at", types.UtcDateTime(), nullable=True),
        sa.Column("ended_at", types.UtcDateTime(), nullable=True),
        sa.Column("wait_seconds", sa.Integer(), nullable=True),
        sa.Column("ring_seconds", sa.Integer(), nullable=True),
        sa.Column("talk_seconds", sa.Integer(), nullable=True),
        sa.Column("hold_seconds", sa.Integer(), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("recording_url", types.text(2048), nullable=True),
        sa.Column("recording_state", types.text(32), nullable=True),
        sa.Column("cost", types.Cost(), nullable=True),
        sa.Column("currency", types.text(255), nullable=True),
        sa.Column("attributes", types.Json(), nullable=False),
        sa.Column("flags", types.Json(), nullable=False),
        sa.Column("case_id", types.CallId(), nullable=True),
        sa.Column("attempt_id", types.CallId(), nullable=True),
        sa.Column("sort_at", types.UtcDateTime(), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("first_received_at", types.UtcDateTime(), nullable=False),
        sa.Column("last_received_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("announced", types.Json(), nullable=True),
        sa.Column("replaced_by", types.CallId(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("call_key", "source", name=op.f("uq_calls_call_key_source")),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(
        "ix_calls_open",
        "calls",
        ["state", "last_received_at"],
        unique=False,
        if_not_exists=True,
        postgresql_where=sa.text("state IN ('queued', 'ringing', 'answered')"),
        sqlite_where=sa.text("state IN ('queued', 'ringing', 'answered')"),
    )
    op.create_index(
        op.f("ix_calls_external_number_sort_at"),
        "calls",
        ["external_number", "sort_at"],
        unique=False,
        if_not_exists=True,
    )
    op.create_index(op.f("ix_calls_sort_at_id"), "calls", ["sort_at", "id"], unique=False, if_not_exists=True)
    op.create_table(
        "config_revisions",
        sa.Column("revision", types.text(64), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("system", types.text(32), nullable=False),
        sa.Column("settings", types.Json(), nullable=False),
        sa.Column("first_seen_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "coverage",
        sa.Column("id", types.serial(), sa.Identity(), nullable=False),
        sa.Column("hub", types.text(255), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("since", types.UtcDateTime(), nullable=False),
        sa.Column("until", types.UtcDateTime(), nullable=True),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("detail", types.text(1000), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(op.f("ix_coverage_since"), "coverage", ["since"], unique=False, if_not_exists=True)
    op.create_table(
        "outbox",
        sa.Column("id", types.serial(), sa.Identity(), nullable=False),
        sa.Column("call_id", types.CallId(), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("type", types.text(32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("due_at", types.UtcDateTime(), nullable=False),
        sa.Column("snapshot", types.Json(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
        **MARIADB,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "record_audit",
        sa.Column("id", types.serial(), sa.Identity(), nullable=False),
        sa.Column("record_id", types.serial(), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("actor", types.text(255), nullable=False),
        sa.Column("action", types.text(32), nullable=False),
        sa.Column("why", types.text(1000), nullable=True),
        sa.Column("before", types.Json(), nullable=True),
        sa.Column("after", types.Json(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(op.f("ix_record_audit_record_id"), "record_audit", ["record_id"], unique=False, if_not_exists=True)
    op.create_table(
        "records",
        sa.Column("id", types.serial(), sa.Identity(), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("received_at", types.UtcDateTime(), nullable=False),
        sa.Column("digest", types.digest(16), nullable=False),
        sa.Column("event_id", types.text(255), nullable=True),
        sa.Column("content_type", types.text(255), nullable=False),
        sa.Column("body", types.body(), nullable=True),
        sa.Column("repaired_body", types.body(), nullable=True),
        sa.Column("attributes", types.Json(), nullable=False),
        sa.Column("call_id", types.CallId(), nullable=True),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("reason", types.text(32), nullable=True),
        sa.Column("detail", types.text(1000), nullable=True),
        sa.Column("decoder_revision", sa.Integer(), nullable=False),
        sa.Column("config_revision", types.text(64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest", "source", name=op.f("uq_records_digest_source")),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(op.f("ix_records_call_id"), "records", ["call_id"], unique=False, if_not_exists=True)
    op.create_index(
        "ix_records_suspended",
        "records",
        ["state", "id"],
        unique=False,
        if_not_exists=True,
        postgresql_where=sa.text("state = 'suspended'"),
        sqlite_where=sa.text("state = 'suspended'"),
    )
    op.create_table(
        "unopened",
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("call_key", types.text(255), nullable=False),
        sa.Column("record_source", types.text(64), nullable=False),
        sa.Column("digest", types.digest(16), nullable=False),
        sa.Column("since", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("call_key", "source", "digest", "record_source"),
        if_not_exists=True,
        **MARIADB,
    )
    # ### end Alembic commands ###
