"""What was told of a call, in a table of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cdrhub.store import types

revision = "0005"
down_revision = "0004"

MARIADB: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "mariadb_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Move `calls.announced` into the table `announcements`.

    MariaDB commits each step: it may have ended in the middle.
    """
    op.create_table(
        "announcements",
        sa.Column("call_id", types.CallId(), nullable=False),
        sa.Column("announced", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("call_id"),
        if_not_exists=True,
        **MARIADB,
    )
    if "announced" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("calls")}:
        op.execute("DELETE FROM announcements")
        op.execute(
            "INSERT INTO announcements (call_id, announced) SELECT id, announced FROM calls WHERE announced IS NOT NULL"
        )
        op.drop_column("calls", "announced")
