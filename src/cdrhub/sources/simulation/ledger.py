"""The ledger: what a simulated phone system did, for comparison with what the hub shows.

One line of JSON per call: its key, the columns of `calls` that its records let the hub know (docs/model.md says which;
null where the hub must show nothing), and the people who were rung or joined. Columns that are left out are not
compared. A call that is written again replaces what was written of it before. Simulators append to one file, also from
several processes: a line is written at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson

from cdrhub.errors import NotFound, UsageError
from cdrhub.model.disposition import Role

PEOPLE: Final = frozenset({Role.AGENT, Role.TRANSFER, Role.CONSULT, Role.CONFERENCE})
"""The roles of legs that an entry lists, all of them or none."""

Expected = str | int | datetime | None
"""Of a column: text, whole seconds, a moment (aware) or nothing. Dates are written in ISO 8601."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A leg of one of ours. `agent_id` is in the system's own words, `outcome` one of the model's."""

    role: str
    agent_id: str | None
    outcome: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One call as the hub must show it once all of its records have come."""

    system: str  #: as in `calls.system`
    call_key: str
    columns: Mapping[str, Expected]
    people: tuple[Person, ...] | None = None  #: None: not compared


@dataclass(kw_only=True, slots=True)
class Sent:
    """What a simulator did so far. `records` are all that were sent, repeated and broken ones among them, re-sent ones
    not; `acknowledged` is None where the protocol has no acknowledgement."""

    records: int = 0
    acknowledged: int | None = None
    repeated: int = 0  #: sent although the very same bytes had been sent before
    broken: int = 0  #: that nobody can read
    silent: int = 0  #: that say nothing of a call: heartbeats, counts
    resent: int = 0  #: attempts at what was not acknowledged, after the first
    given_up: int = 0  #: sent again and again, and never acknowledged
    calls: int = 0  #: entries written into the ledger
    last_error: str = field(default="")  #: why something was not acknowledged, or there was no connection


class Ledger:
    """Entries in a file that only grows; without a path they are counted and forgotten. A context manager."""

    def __init__(self, path: Path | None = None) -> None:
        """Open `path` for appending. UsageError if it cannot be written."""
        self.count = 0
        self._file: int | None = None
        if path is not None:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise UsageError(f"the ledger {path} cannot be written: {error.strerror}") from error

    def note(self, entry: Entry) -> None:
        """Write `entry` down."""
        self.count += 1
        if self._file is not None:
            os.write(self._file, orjson.dumps(_plain(entry), option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read(path: Path) -> dict[tuple[str, str], Entry]:
    """The entries of a file by system and call key, the last one of each; a last line that is cut (its writer was
    killed) is left out. NotFound where there is none, UsageError for a file that is no ledger."""
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"the ledger {path} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise UsageError(f"the ledger {path} cannot be read: {error.strerror}") from error
    entries: dict[tuple[str, str], Entry] = {}
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            entry = _entry(orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}, line {number}: this is no line of a ledger") from error
        entries[entry.system, entry.call_key] = entry
    return entries


def _plain(entry: Entry) -> dict[str, Any]:
    people = None if entry.people is None else [[who.role, who.agent_id, who.outcome] for who in entry.people]
    return {"system": entry.system, "call_key": entry.call_key, "columns": dict(entry.columns), "people": people}


def _entry(line: Any) -> Entry:
    people: Iterable[Any] | None = line["people"]
    return Entry(
        system=line["system"],
        call_key=line["call_key"],
        columns={str(name): expected for name, expected in line["columns"].items()},
        people=None
        if people is None
        else tuple(Person(role=role, agent_id=agent, outcome=outcome) for role, agent, outcome in people),
    )
