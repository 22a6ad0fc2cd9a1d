"""How alembic reaches the database: over the connection that `schema.py` hands it, in that one's transaction."""

from __future__ import annotations

from alembic import context

from cdrhub.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transaction_per_migration=False,
)
context.run_migrations()
