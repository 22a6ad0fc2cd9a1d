"""Views: one row for an agent and for a queue in an hour."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Change no table: an upgrade makes the views anew."""
