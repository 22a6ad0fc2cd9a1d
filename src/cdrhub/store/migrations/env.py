"""How alembic reaches the database: over the connection that `schema.py` hands it, in that one's transaction."""

from __future__ import annotations

from alembic import context

from cdrhub.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table_pk=False,  # its one row needs none, and MariaDB would grumble about the name
)
context.run_migrations()
