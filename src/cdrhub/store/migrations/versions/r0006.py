"""What lists and reports of a large table are found by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cdrhub.store import types

revision = "0006"
down_revision = "0005"

LEG = (
    "call_id, leg_key, seq, role, outcome, parent_leg, number, agent_id, agent_name, agent_extension, queue_id, queue, "
    "team, offered_at, answered_at, left_at, ring_seconds, talk_seconds, hold_seconds, cause"
)
OWN = {
    "caller_number": "caller_number IS NOT NULL AND (direction <> 'inbound' OR external_number IS NULL)",
    "callee_number": "callee_number IS NOT NULL AND (direction <> 'outbound' OR external_number IS NULL)",
    "dialed_number": "dialed_number IS NOT NULL AND (dialed_number <> callee_number OR callee_number IS NULL)",
}


def upgrade() -> None:
    """Legs get the hour to which the views count them, and an index by it; numbers of the own side get indexes."""
    {"sqlite": _sqlite, "postgresql": _postgresql}.get(op.get_bind().dialect.name, _mariadb)()
    op.create_index(op.f("ix_call_legs_role_hour"), "call_legs", ["role", "hour"], unique=False, if_not_exists=True)
    for column, where in OWN.items():
        op.create_index(
            op.f(f"ix_calls_{column}_sort_at"),
            "calls",
            [column, "sort_at"],
            unique=False,
            if_not_exists=True,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )


def _postgresql() -> None:
    op.add_column("call_legs", sa.Column("hour", types.text(20), nullable=True))
    hour = "to_char(COALESCE(l.offered_at, c.sort_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24')"
    op.execute(
        f"UPDATE call_legs l SET hour = {hour} || '\\:00\\:00Z' FROM calls c WHERE c.id = l.call_id"  # noqa: S608
    )
    op.alter_column("call_legs", "hour", existing_type=types.text(20), nullable=False)


def _mariadb() -> None:
    """It commits each step: it may have ended in the middle."""
    if "hour" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("call_legs")}:
        op.add_column("call_legs", sa.Column("hour", types.text(20), nullable=True))
    hour = "date_format(COALESCE(l.offered_at, c.sort_at), '%Y-%m-%dT%H')"
    op.execute(f"UPDATE call_legs l JOIN calls c ON c.id = l.call_id SET l.hour = concat({hour}, '\\:00\\:00Z')")  # noqa: S608
    op.alter_column("call_legs", "hour", existing_type=types.text(20), nullable=False)


def _sqlite() -> None:
    """It cannot add a column that is never null: the table is made anew, with its rows."""
    op.create_table(
        "call_legs_anew",
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
        sa.Column("hour", types.text(20), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "leg_key"),
        sqlite_with_rowid=False,
    )
    hour = "substr(COALESCE(offered_at, (SELECT sort_at FROM calls WHERE id = call_id)), 1, 13)"
    op.execute(
        f"INSERT INTO call_legs_anew ({LEG}, hour) "  # noqa: S608
        f"SELECT {LEG}, {hour} || '\\:00\\:00Z' FROM call_legs ORDER BY call_id, leg_key"
    )
    op.drop_table("call_legs")
    op.rename_table("call_legs_anew", "call_legs")
