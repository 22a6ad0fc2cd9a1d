"""Redial and broadcast."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cdrhub.store import types

revision = "0003"
down_revision = "0002"

MARIADB: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "mariadb_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Make the tables of redial and of the broadcast; facts get a position, and may be of a case alone.

    MariaDB commits each step: it may have ended in the middle.
    """
    op.create_table(
        "attempts",
        sa.Column("id", types.CallId(), nullable=False),
        sa.Column("case_id", types.CallId(), nullable=False),
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("number", types.text(64), nullable=False),
        sa.Column("match_key", types.text(64), nullable=False),
        sa.Column("e164", types.text(64), nullable=True),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("dialler", types.text(64), nullable=False),
        sa.Column("agent", types.text(255), nullable=False),
        sa.Column("placed_by", types.text(32), nullable=False),
        sa.Column("reference", types.text(128), nullable=False),
        sa.Column("vendor_ref", types.text(255), nullable=False),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("outcome", types.text(32), nullable=True),
        sa.Column("refusal", types.text(32), nullable=True),
        sa.Column("detail", types.text(1000), nullable=False),
        sa.Column("decided_at", types.UtcDateTime(), nullable=False),
        sa.Column("requested_at", types.UtcDateTime(), nullable=True),
        sa.Column("deadline_at", types.UtcDateTime(), nullable=True),
        sa.Column("ended_at", types.UtcDateTime(), nullable=True),
        sa.Column("call_id", types.CallId(), nullable=True),
        sa.Column("live_case", types.CallId(), nullable=True),
        sa.Column("live_agent", types.text(255), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("live_agent", name=op.f("uq_attempts_live_agent")),
        sa.UniqueConstraint("live_case", name=op.f("uq_attempts_live_case")),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(op.f("ix_attempts_call_id"), "attempts", ["call_id"], unique=False, if_not_exists=True)
    op.create_index(op.f("ix_attempts_case_id_id"), "attempts", ["case_id", "id"], unique=False, if_not_exists=True)
    op.create_index(
        op.f("ix_attempts_match_key_requested_at"),
        "attempts",
        ["match_key", "requested_at"],
        unique=False,
        if_not_exists=True,
    )
    op.create_index(
        op.f("ix_attempts_state_deadline_at"), "attempts", ["state", "deadline_at"], unique=False, if_not_exists=True
    )
    op.create_index(op.f("ix_attempts_vendor_ref"), "attempts", ["vendor_ref"], unique=False, if_not_exists=True)
    op.create_table(
        "case_numbers",
        sa.Column("case_id", types.CallId(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", types.text(64), nullable=False),
        sa.Column("match_key", types.text(64), nullable=False),
        sa.Column("e164", types.text(64), nullable=True),
        sa.Column("label", types.text(128), nullable=False),
        sa.Column("do_not_call", sa.Boolean(), nullable=False),
        sa.Column("last_disposition", types.text(32), nullable=True),
        sa.Column("last_attempt_at", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("case_id", "position"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(op.f("ix_case_numbers_match_key"), "case_numbers", ["match_key"], unique=False, if_not_exists=True)
    op.create_table(
        "cases",
        sa.Column("id", types.CallId(), nullable=False),
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("code", types.text(128), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("agent", types.text(255), nullable=False),
        sa.Column("campaign", types.text(255), nullable=False),
        sa.Column("timezone", types.text(64), nullable=False),
        sa.Column("metadata", types.Json(), nullable=False),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("state_reason", types.text(32), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("next_action_at", types.UtcDateTime(), nullable=True),
        sa.Column("next_key", types.text(64), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("code", "tenant", name=op.f("uq_cases_code_tenant")),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(op.f("ix_cases_next_action_at"), "cases", ["next_action_at"], unique=False, if_not_exists=True)
    op.create_index(op.f("ix_cases_state_id"), "cases", ["state", "id"], unique=False, if_not_exists=True)
    op.create_table(
        "deliveries",
        sa.Column("endpoint", types.text(64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", types.UtcDateTime(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", types.text(1000), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "position"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "do_not_call",
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("match_key", types.text(64), nullable=False),
        sa.Column("e164", types.text(64), nullable=True),
        sa.Column("source", types.text(255), nullable=False),
        sa.Column("checked_at", types.UtcDateTime(), nullable=False),
        sa.Column("until", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("match_key", "tenant"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "leases",
        sa.Column("name", types.text(64), nullable=False),
        sa.Column("holder", types.text(255), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "redial_decisions",
        sa.Column("id", types.serial(), sa.Identity(), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("case_id", types.CallId(), nullable=False),
        sa.Column("call_id", types.CallId(), nullable=True),
        sa.Column("call_revision", sa.Integer(), nullable=True),
        sa.Column("attempt_id", types.CallId(), nullable=True),
        sa.Column("cause", types.text(32), nullable=False),
        sa.Column("result", types.text(32), nullable=False),
        sa.Column("rule", types.text(32), nullable=False),
        sa.Column("detail", types.text(1000), nullable=False),
        sa.Column("mode", types.text(32), nullable=False),
        sa.Column("inputs", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "call_id", "case_id", "call_revision", name=op.f("uq_redial_decisions_call_id_case_id_call_revision")
        ),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(
        op.f("ix_redial_decisions_case_id_id"), "redial_decisions", ["case_id", "id"], unique=False, if_not_exists=True
    )
    op.create_table(
        "redial_pauses",
        sa.Column("scope", types.text(32), nullable=False),
        sa.Column("name", types.text(255), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("actor", types.text(255), nullable=False),
        sa.Column("why", types.text(1000), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "request_keys",
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("idempotency_key", types.text(255), nullable=False),
        sa.Column("digest", types.digest(16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", types.Json(), nullable=True),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", "tenant"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("name", types.text(64), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failing_since", types.UtcDateTime(), nullable=True),
        sa.Column("next_at", types.UtcDateTime(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", types.text(1000), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
        **MARIADB,
    )
    look = sa.inspect(op.get_bind())
    there = {column["name"] for column in look.get_columns("outbox")}
    unique = {constraint["name"] for constraint in look.get_unique_constraints("outbox")}
    # SQLite cannot change a column: the table is made anew there, with its rows.
    with op.batch_alter_table("outbox", table_kwargs={"sqlite_autoincrement": True}) as outbox:
        if "case_id" not in there:
            outbox.add_column(sa.Column("case_id", types.CallId(), nullable=True))
        if "position" not in there:
            outbox.add_column(sa.Column("position", sa.BigInteger(), nullable=True))
        outbox.alter_column("call_id", existing_type=types.CallId(), nullable=True)
        if "uq_outbox_position" not in unique:
            outbox.create_unique_constraint(op.f("uq_outbox_position"), ["position"])
    op.create_index(
        "ix_outbox_settled",
        "outbox",
        ["type", "due_at"],
        unique=False,
        if_not_exists=True,
        postgresql_where=sa.text("type = 'call.settled'"),
        sqlite_where=sa.text("type = 'call.settled'"),
    )
    op.create_index(
        "ix_outbox_unnumbered",
        "outbox",
        ["position", "type"],
        unique=False,
        if_not_exists=True,
        postgresql_where=sa.text("position IS NULL AND type != 'call.settled'"),
        sqlite_where=sa.text("position IS NULL AND type != 'call.settled'"),
    )
