"""The script that people write first: a socket, a split, an INSERT and a commit per record, into SQLite.

Every commit is on the disk before the next record, as SQLite has it by default. Its default journal (DELETE, three
fsyncs a commit: https://www.sqlite.org/atomiccommit.html) is what a script has whose author did not look further;
`WAL` is the better journal for it, which costs one fsync.
"""

from __future__ import annotations

import socketserver
import sqlite3
import sys

from bench.peers.rsyslog import COLUMNS

PATIENCE_SECONDS = 60.0  #: with whoever counts the rows meanwhile


class Server(socketserver.ThreadingTCPServer):
    """The socket."""

    allow_reuse_address = True


class Handler(socketserver.StreamRequestHandler):
    """One connection of the phone system."""

    def handle(self) -> None:
        """Store each line as it comes."""
        database = sqlite3.connect(sys.argv[2], timeout=PATIENCE_SECONDS)
        database.execute("PRAGMA synchronous = FULL")
        insert = f"INSERT INTO lines ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        for line in self.rfile:
            fields = line.decode("utf-8", "replace").strip().removeprefix("Call ").split(",")
            if len(fields) == len(COLUMNS):
                database.execute(insert, fields)
                database.commit()
        database.close()


def main() -> None:
    """`python -m bench.peers.commit_per_record PORT DATABASE JOURNAL`, the last one DELETE or WAL"""
    database = sqlite3.connect(sys.argv[2])
    database.execute(f"PRAGMA journal_mode = {sys.argv[3]}")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"CREATE TABLE lines (id INTEGER PRIMARY KEY, {', '.join(f'{c} TEXT' for c in COLUMNS)})")
    database.commit()
    database.close()
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
