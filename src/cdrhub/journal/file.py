"""The journal's files: one SQLite database and the lock of its directory. Blocking; used by one thread at a time.

WAL with synchronous=FULL: a commit returns when it is fsynced (https://www.sqlite.org/pragma.html#pragma_synchronous),
and the reader's connection never waits for the writer's. A row of `groups` holds all records of one commit and is
named by its last entry, so that what lies behind the checkpoint, and what a reader wants, are ranges of the key.

After any error, of whatever kind, the connection is given up and the next commit opens another: a full or failing
disk refuses records as long as it fails and no longer. A refused group may still land; its digests absorb that. Entries
that are in the database can be deleted on a full disk too (reserve.py), and the room is given back to the disk.

A group carries the CRC-32 of its payload. One that cannot be read goes to the table `damaged`, as it is, and is never
deleted; its entries are passed over. A database that contradicts itself is refused, for nobody knows what it has lost.
So it is checked when it is opened, which takes a second for 100 MB to 2 GB of waiting records.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cdrhub.errors import JournalError, JournalLocked
from cdrhub.journal.log_damage import KeptLog, keep_damaged_log
from cdrhub.journal.numbering import contradiction
from cdrhub.journal.packing import Damaged, Entry, from_microseconds, unpack
from cdrhub.journal.reserve import Reserve, is_full
from cdrhub.model.record import Revision

DATABASE_NAME = "journal.db"
LOCK_NAME = "journal.lock"
RESERVE_NAME = "journal.reserve"

BUSY_SECONDS = 5.0  #: only another process's tool (a backup, the sqlite3 shell) can make us wait
WAL_PAGES = 2_000  #: pages after which the log is copied into the database, 8 MB
WAL_KEEP_BYTES = 16 * 1024 * 1024  #: the log is cut to this when it was longer
FREE_PAGES_KEPT = 4_096  #: 16 MB of free pages are for the next burst; what is beyond goes back to the disk
VACUUM_PAGES = 512  #: given back at one deletion, 2 MB
SUSPECT_STARTS = 3  #: unclean ends in a row with the same first entry, after which that batch is suspect
NAMED_STARTS = 3  #: further unclean ends in a row at the mark of one entry, after which it is named

_FORMAT = 3
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE groups (
    last INTEGER PRIMARY KEY, count INTEGER NOT NULL, received_at INTEGER NOT NULL, bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE damaged (
    last INTEGER PRIMARY KEY, count INTEGER NOT NULL, received_at INTEGER NOT NULL, bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL, payload BLOB NOT NULL, error TEXT NOT NULL
);
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1), checkpoint INTEGER NOT NULL, running INTEGER NOT NULL,
    in_flight_first INTEGER NOT NULL, in_flight_last INTEGER, deaths INTEGER NOT NULL,
    checkpoint_again INTEGER NOT NULL DEFAULT 0
);
INSERT INTO progress VALUES (1, 0, 0, 1, NULL, 0, 0);
CREATE TABLE positions (source TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (source, key)) WITHOUT ROWID;
CREATE TABLE settings (
    revision TEXT PRIMARY KEY, source TEXT NOT NULL, system TEXT NOT NULL, settings TEXT NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 3;
COMMIT;
"""
_FROM_2 = """
BEGIN IMMEDIATE;
ALTER TABLE progress ADD COLUMN checkpoint_again INTEGER NOT NULL DEFAULT 0;
UPDATE progress SET checkpoint_again = checkpoint;
PRAGMA user_version = 3;
COMMIT;
"""
_SCRIPTS = {0: _SCHEMA, 2: _FROM_2}  #: what makes a file of the present format of one of these
_GROUP = "last, count, received_at, bytes, crc, payload"
_INSERT_GROUP = f"INSERT INTO groups ({_GROUP}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant
_KEEP_DAMAGED = f"INSERT OR IGNORE INTO damaged SELECT {_GROUP}, ? FROM groups WHERE last = ?"  # noqa: S608 - likewise
REMEMBER_POSITION = (
    "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (source, key) DO UPDATE SET value = excluded.value"
)
FORGET_POSITION = "DELETE FROM positions WHERE source = ? AND key = ?"
REMEMBER_REVISION = "INSERT INTO settings VALUES (?, ?, ?, ?) ON CONFLICT (revision) DO NOTHING"
NOTE_RUN = "UPDATE progress SET running = ?, in_flight_first = ?, in_flight_last = ?, deaths = ?"
PROBE = "UPDATE progress SET running = running"  #: changes nothing, but is written: whether the disk works again

Statement = tuple[str, tuple[str | int | bytes | None, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What the journal knows of the process that works on it, or of the last one that did."""

    running: bool  #: no clean stop since
    first: int  #: the first entry that was not in the database
    marked: bool = False  #: that it was worked on, alone
    deaths: int = 0  #: starts in a row before this one that ended uncleanly with the same `first`

    def followed_by(self, *, first: int, depth: int) -> Run:
        """The run that starts after this one, with `depth` entries to do from `first` on. Once that is a suspect only
        deaths at its mark count."""
        deaths = 0
        if self.running and depth:
            deaths = self.deaths if first == self.first else 0
            deaths += deaths < SUSPECT_STARTS or self.marked
        return Run(running=True, first=first, deaths=deaths)

    def at_mark(self, entry: int) -> Run:
        """This run from when it works on `entry` alone."""
        deaths = self.deaths if entry == self.first else 0
        return Run(running=True, first=entry, marked=True, deaths=max(deaths, SUSPECT_STARTS))


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What is on disk after opening or a commit."""

    last: int  #: the newest entry ever; 0 for none
    checkpoint: int
    bytes: int  #: of the groups not yet deleted
    oldest: datetime | None  #: when the oldest group not yet deleted was received
    seconds: float = 0.0  #: that the commit took


class DamagedGroup(Exception):
    """A group that is there but cannot be read."""

    def __init__(self, *, first: int, last: int, why: str) -> None:
        super().__init__(why)
        self.first = first
        self.last = last
        self.why = why


class Unreadable(JournalError):
    """The machine does not give the database at the moment; it may the next time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The records that one commit writes."""

    payload: bytes
    count: int
    bytes: int
    received_at: int  #: microseconds, of the first


class DirectoryLock:
    """An exclusive lock of a directory; the kernel drops it with the process, however that ends."""

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # on a full disk nobody is told who holds it
                os.truncate(self._file, 0)
                os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace") or "unknown"
            os.close(self._file)
            raise JournalLocked(
                f"the journal in {directory} is in use by another process (pid {holder}): "
                "stop that one, or give this one another data_dir"
            ) from error
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._file)


class WritableFile:
    """The writer's side of the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # SQLite gives the log the database's permissions, so that this is the only place that sets them.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None  #: of the file that is open
        self._state = State(last=0, checkpoint=0, bytes=0, oldest=None)
        self._looked_through = False
        self.kept_log: KeptLog | None = None  #: a copy of the log, made at the opening because it was damaged
        self._reserve = Reserve(path.with_name(RESERVE_NAME))
        try:
            self._open()
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            self.make_way(error, checkpoint=0)
            self._open()
        else:
            self._reserve.take()

    @property
    def state(self) -> State:
        """As of the last commit."""
        return self._state

    def positions(self) -> dict[tuple[str, str], str]:
        """Every remembered position by (source, key)."""
        rows = self._open().execute("SELECT source, key, value FROM positions")
        return {(source, key): value for source, key, value in rows}

    def revisions(self) -> list[Revision]:
        """Every remembered revision of decode settings."""
        rows = self._open().execute("SELECT revision, source, system, settings FROM settings")
        return [
            Revision(revision=revision, source=source, system=system, settings=settings)
            for revision, source, system, settings in rows
        ]

    def run(self) -> Run:
        """What was noted last by NOTE_RUN."""
        row = self._open().execute("SELECT running, in_flight_first, in_flight_last, deaths FROM progress").fetchone()
        return Run(running=bool(row[0]), first=row[1], marked=row[2] is not None, deaths=row[3])

    def damaged(self) -> list[range]:
        """The entries of every group that was set aside, in order."""
        rows = self._open().execute("SELECT last, count FROM damaged ORDER BY last")
        return [range(last - count + 1, last + 1) for last, count in rows]

    def set_aside(self, last: int, *, why: str) -> State:
        """Move the group that ends with entry `last` to those that cannot be read. Raises as `commit` does."""
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_KEEP_DAMAGED, (why, last))
            connection.execute("DELETE FROM groups WHERE last = ?", (last,))
            connection.execute("COMMIT")
            self._state = _read_state(connection)
        except BaseException:
            self.give_up()
            raise
        return self._state

    def commit(self, group: Group | None, statements: Iterable[Statement], *, checkpoint: int) -> State:
        """Write all of it in one transaction; durable when it returns. `checkpoint` moves, and what lies behind it
        is deleted, when it is beyond the present one.

        Raises sqlite3.Error, OSError or JournalError when the database does not take it, anything else when a value
        cannot be written: then none of it is, as far as one can know of a failing disk."""
        begun = time.perf_counter()
        try:
            connection = self._open()
            before = self._state
            work = list(statements)
            if group is not None:
                last, crc = before.last + group.count, zlib.crc32(group.payload)
                row = (last, group.count, group.received_at, group.bytes, crc, group.payload)
                work.append((_INSERT_GROUP, row))
            if checkpoint > before.checkpoint:
                state = self._commit_with_deletion(connection, work, group, checkpoint=checkpoint)
            else:
                # One statement is a transaction of its own: each statement saved is a hand-over of the interpreter
                # lock saved, which beside a busy event loop costs more than the statement.
                if len(work) > 1:
                    connection.execute("BEGIN IMMEDIATE")
                for sql, values in work:
                    connection.execute(sql, values)
                if len(work) > 1:
                    connection.execute("COMMIT")
                state = State(
                    last=before.last + (group.count if group else 0),
                    checkpoint=before.checkpoint,
                    bytes=before.bytes + (group.bytes if group else 0),
                    oldest=from_microseconds(group.received_at) if group and not before.bytes else before.oldest,
                    seconds=time.perf_counter() - begun,
                )
            self._check_ended(connection)
        except BaseException:
            # Whatever it is: a transaction left open would swallow the next commits, each answered as durable.
            self.give_up()
            raise
        self._state = state
        return state

    def require_room(self) -> None:
        """Raise OSError while the disk is so full that a further group would leave no room to delete anything, and
        while the file is not the one that was opened: what is written to a removed file is lost with the process."""
        if self._inode is not None and _inode(self._path) != self._inode:
            raise OSError(
                "the file was removed or replaced below this process: put it back, or restart to go on without it"
            )
        self._reserve.require()

    def make_way(self, error: BaseException, *, checkpoint: int) -> None:
        """If `error` says that the disk is full: copy the log, delete what is behind `checkpoint`, and give the disk
        some of it back. Raises nothing: the next commit tells whether it helped."""
        if not is_full(error):
            return
        self._reserve.give_up()
        try:
            connection = self._open()
            _copy_log(connection)
            if checkpoint > self._state.checkpoint:
                self.commit(None, (), checkpoint=checkpoint)
            connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            _copy_log(connection)
        except (sqlite3.Error, OSError, JournalError):
            pass
        finally:
            self.give_up()
            self._reserve.take()

    def close(self) -> None:
        """Copy the log into the database and close; what cannot be copied now is read from the log next time."""
        self._reserve.give_up()
        if self._connection is not None:
            try:
                _copy_log(self._connection)
            finally:
                self.give_up()

    def _commit_with_deletion(
        self, connection: sqlite3.Connection, work: Iterable[Statement], group: Group | None, *, checkpoint: int
    ) -> State:
        begun = time.perf_counter()
        before = self._state
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free > FREE_PAGES_KEPT:
            # Before the transaction, so that its failure refuses the group before anything is written. `execute`
            # would free one page only: the pragma answers in steps without columns, which it does not follow.
            connection.executescript(f"PRAGMA incremental_vacuum({min(free - FREE_PAGES_KEPT, VACUUM_PAGES)})")
        connection.execute("BEGIN IMMEDIATE")
        (freed,) = connection.execute("SELECT total(bytes) FROM groups WHERE last <= ?", (checkpoint,)).fetchone()
        connection.execute("DELETE FROM groups WHERE last <= ?", (checkpoint,))
        connection.execute("UPDATE progress SET checkpoint = ?, checkpoint_again = ?", (checkpoint, checkpoint))
        for sql, values in work:
            connection.execute(sql, values)
        oldest = connection.execute("SELECT received_at FROM groups ORDER BY last LIMIT 1").fetchone()
        connection.execute("COMMIT")
        return State(
            last=before.last + (group.count if group else 0),
            checkpoint=checkpoint,
            bytes=before.bytes - int(freed) + (group.bytes if group else 0),
            oldest=from_microseconds(oldest[0]) if oldest else None,
            seconds=time.perf_counter() - begun,
        )

    def _check_ended(self, connection: sqlite3.Connection) -> None:
        """Raise if a transaction is still open: a further statement would become part of it, and not be durable."""
        if connection.in_transaction:
            raise JournalError(f"a transaction of the journal {self._path} did not end")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            self._check_ended(self._connection)
            return self._connection
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            if not self._looked_through:
                self._look_through(connection)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # writes
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise JournalError(
                    f"the journal {self._path} cannot have a write-ahead log here: put data_dir on a local disk"
                )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = OFF")  # some builds default to writing zeros over what goes
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version in _SCRIPTS:
                connection.executescript(_SCRIPTS[version])
            elif version != _FORMAT:
                raise JournalError(
                    f"the journal {self._path} is of format {version}, this version of cdrhub reads {_FORMAT}: "
                    "run the version that wrote it until it is empty, then move the file away; followed files are read "
                    "from their beginning then, and what is known already makes no second call"
                )
            if not self._looked_through:
                if (wrong := contradiction(connection)) is not None:
                    raise spoilt(self._path, ValueError(wrong))
                self._looked_through = True
            state = _read_state(connection)
            if state.last < self._state.last:
                # Numbers are never used again, and what was acknowledged must be there: no record is taken until it is.
                raise JournalError(
                    f"the journal {self._path} ends with entry {state.last}, {self._state.last} was written: "
                    "was the file replaced? Restart to go on with what is there"
                )
        except BaseException:
            connection.close()
            raise
        self._state = state
        self._connection = connection
        self._inode = _inode(self._path)
        return connection

    def _look_through(self, connection: sqlite3.Connection) -> None:
        """Before anything is written: keep a damaged log, refuse a file that contradicts itself."""
        connection.execute("PRAGMA user_version").fetchone()
        self.kept_log = keep_damaged_log(self._path, connection) or self.kept_log
        if self.kept_log is not None:
            _copy_log(connection)  # what is behind the damage must not stay behind what is written next
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise spoilt(self._path, ValueError(" ".join(found.split())))

    def give_up(self) -> None:
        """Close it as it is; the next write opens it again. What was begun is rolled back."""
        connection, self._connection, self._inode = self._connection, None, None
        if connection is not None:
            connection.close()


class ReadableFile:
    """The reader's side of the database: another connection, so that no read waits for an fsync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def read(self, *, after: int, last: int, limit: int, max_bytes: int) -> list[Entry]:
        """Entries behind `after` up to `last`, at most `limit` and `max_bytes` of bodies (but at least one), and
        those before the first damaged group.

        Raises DamagedGroup when that one is the first, Unreadable when the machine does not give the database,
        JournalError when what it gives is none."""
        entries: list[Entry] = []
        expected = after + 1
        try:
            rows = self._open().execute(
                "SELECT last, count, crc, payload FROM groups WHERE last > ? AND last <= ? ORDER BY last", (after, last)
            )
            with closing(rows):  # an unfinished SELECT would keep the log from being cut
                for its_last, count, crc, payload in rows:
                    first = its_last - count + 1
                    if first > expected:  # what is missing was set aside, or is hidden
                        if entries:
                            break  # told when it is asked for by itself
                        raise spoilt(self._path, ValueError(f"entry {expected} is missing"))
                    expected = its_last + 1
                    try:
                        if not isinstance(payload, bytes) or zlib.crc32(payload) != crc:
                            raise Damaged("its checksum is another")
                        least = 0 if entries else 1
                        asked = {"after": after, "limit": limit, "max_bytes": max_bytes, "least": least}
                        found = unpack(payload, first=first, last=its_last, **asked)
                    except Damaged as error:
                        if entries:
                            break  # told when it is asked for by itself
                        raise DamagedGroup(first=first, last=its_last, why=str(error)) from error
                    entries += found
                    limit -= len(found)
                    max_bytes -= sum([len(entry.record.body) for entry in found])
                    if limit <= 0 or max_bytes <= 0 or not found or found[-1].seq != its_last:
                        break
        except (sqlite3.Error, OSError, MemoryError, TypeError) as error:
            self.close()
            if is_spoilt(error):
                raise spoilt(self._path, error) from error
            raise Unreadable(f"the journal {self._path} cannot be read: {error or type(error).__name__}") from error
        return entries

    def close(self) -> None:
        """Close; the next read opens again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA query_only = ON")
        return self._connection


def is_spoilt(error: BaseException) -> bool:
    """Whether an error of reading or writing says that the file is damaged: no database, one that contradicts itself,
    or one without our tables (SQLITE_ERROR)."""
    if isinstance(error, sqlite3.Error):  # without a code: a text that is not in UTF-8
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # https://www.sqlite.org/rescode.html
        return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    return isinstance(error, TypeError | ValueError)  # a value of another kind than was written


def spoilt(path: Path, error: BaseException) -> JournalError:
    """The error that a person is shown for such a file, without the text that could not be read."""
    has_no_code = isinstance(error, sqlite3.Error) and not hasattr(error, "sqlite_errorcode")
    why = "a text is not in UTF-8" if has_no_code else str(error)
    return JournalError(
        f"the journal {path} is damaged ({why}): move it away with its -wal and -shm, start again, and keep them: what "
        "was acknowledged and not yet in the database is there"
    )


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _copy_log(connection: sqlite3.Connection) -> None:
    """Copy the log into the database and cut it, as far as nobody reads it."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _read_state(connection: sqlite3.Connection) -> State:
    (checkpoint,) = connection.execute("SELECT checkpoint FROM progress").fetchone()
    last, total = connection.execute("SELECT max(last), total(bytes) FROM groups").fetchone()
    (last_damaged,) = connection.execute("SELECT max(last) FROM damaged").fetchone()
    oldest = connection.execute("SELECT received_at FROM groups ORDER BY last LIMIT 1").fetchone()
    return State(
        last=max(last or 0, last_damaged or 0, checkpoint),
        checkpoint=checkpoint,
        bytes=int(total),
        oldest=from_microseconds(oldest[0]) if oldest else None,
    )
