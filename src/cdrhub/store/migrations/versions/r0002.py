"""States of agents."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cdrhub.store import types

revision = "0002"
down_revision = "0001"

MARIADB: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "mariadb_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Make the table `agent_states`. MariaDB commits each step: it may have ended in the middle."""
    op.create_table(
        "agent_states",
        sa.Column("id", types.serial(), sa.Identity(), nullable=False),
        sa.Column("source", types.text(64), nullable=False),
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("agent_id", types.text(255), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("kind", types.text(32), nullable=False),
        sa.Column("state", types.text(32), nullable=False),
        sa.Column("state_raw", types.text(255), nullable=False),
        sa.Column("reason", types.text(255), nullable=True),
        sa.Column("queue", types.text(255), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("flags", types.Json(), nullable=False),
        sa.Column("received_at", types.UtcDateTime(), nullable=False),
        sa.Column("digest", types.digest(16), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest", "source", name=op.f("uq_agent_states_digest_source")),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_index(
        op.f("ix_agent_states_agent_id_at"), "agent_states", ["agent_id", "at"], unique=False, if_not_exists=True
    )
    op.create_index(op.f("ix_agent_states_at_id"), "agent_states", ["at", "id"], unique=False, if_not_exists=True)
