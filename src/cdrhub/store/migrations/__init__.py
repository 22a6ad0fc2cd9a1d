"""The history of the schema, one revision a module of `versions` (alembic)."""
