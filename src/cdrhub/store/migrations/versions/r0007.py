"""Cases that were deleted, and since when hubs dial."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cdrhub.store import types

revision = "0007"
down_revision = "0006"

MARIADB: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "mariadb_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Make two tables: what a case has again that is made again, and since when hubs dial. Of cases that were deleted
    before nobody knows what they had."""
    op.create_table(
        "deleted_cases",
        sa.Column("tenant", types.text(64), nullable=False),
        sa.Column("code", types.text(128), nullable=False),
        sa.Column("case_id", types.CallId(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("code", "tenant"),
        if_not_exists=True,
        **MARIADB,
    )
    op.create_table(
        "redial_watch",
        sa.Column("name", types.text(32), nullable=False),
        sa.Column("since", types.UtcDateTime(), nullable=False),
        sa.Column("looked_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
        **MARIADB,
    )
