"""What waits for its call is found by when it came."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make an index: a look at what came since the last one, every ten seconds, had read the whole table."""
    op.create_index(op.f("ix_unopened_since"), "unopened", ["since"], unique=False, if_not_exists=True)
