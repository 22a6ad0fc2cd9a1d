"""The script that people write first: a socket, a split, an INSERT and a commit per record, into SQLite."""

from __future__ import annotations

import socketserver
import sqlite3
import sys

from bench.peers.rsyslog import COLUMNS


class Handler(socketserver.StreamRequestHandler):
    """One connection of the phone system."""

    def handle(self) -> None:
        """Store each line as it comes."""
        database = sqlite3.connect(sys.argv[2])
        insert = f"INSERT INTO lines ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        for line in self.rfile:
            fields = line.decode("utf-8", "replace").strip().removeprefix("Call ").split(",")
            if len(fields) == len(COLUMNS):
                database.execute(insert, fields)
                database.commit()
        database.close()


def main() -> None:
    """`python -m bench.peers.commit_per_record PORT DATABASE`"""
    database = sqlite3.connect(sys.argv[2])
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"CREATE TABLE lines (id INTEGER PRIMARY KEY, {', '.join(f'{c} TEXT' for c in COLUMNS)})")
    database.commit()
    database.close()
    with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
