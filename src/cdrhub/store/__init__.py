"""The store: records, calls, legs, coverage and facts in SQLite, PostgreSQL or MariaDB."""

from cdrhub.store.store import Store

__all__ = ["Store"]
