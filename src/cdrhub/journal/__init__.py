"""The journal: where a record becomes durable before its sender is told so.

An SQLite database of its own in the data directory. `Journal` is what the hub uses, and its module says what is
guaranteed; `packing` is the layout of records, `file` the SQL, `lane` the thread that runs the SQL.
"""

from __future__ import annotations

from cdrhub.journal.file import NAMED_STARTS, SUSPECT_STARTS
from cdrhub.journal.journal import DEFAULT_MAX_BYTES, Journal, JournalStats
from cdrhub.journal.packing import Entry, size_of

__all__ = ["DEFAULT_MAX_BYTES", "NAMED_STARTS", "SUSPECT_STARTS", "Entry", "Journal", "JournalStats", "size_of"]
