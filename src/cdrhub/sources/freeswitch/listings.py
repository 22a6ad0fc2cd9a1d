"""What the switch lists when it is asked: tables of `callcenter_config … list`, and `show channels as json`.

A table's first line names the columns, `|` separates values, and its last line is `+OK`; without rows `+OK` is all.
A `|` inside a value is not escaped: what a row has too many belongs to the column that a caller can fill, so that a
display name cannot shift the others. Read in `mod_callcenter.c` (`list_result_callback`) and `mod_commands.c`
(`show_function`) of https://github.com/signalwire/freeswitch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from cdrhub.errors import CdrhubError
from cdrhub.model.immutable import immutable
from cdrhub.sources.freeswitch.channel import inner_side, seconds

MAX_ROWS = 10_000  #: of one list
OK = "+OK"

#: States of a member who is in the queue or with an agent; the others are gone (`Abandoned`) or not known.
IN_QUEUE = frozenset({"Waiting", "Trying", "Answered"})

_FILLED_BY_CALLERS = "cid_name"
_DIAL_STRING = "contact"


class ListingError(CdrhubError):
    """An answer of the switch is not the list that was asked for, or not all of it."""


@immutable
class Member:
    """A caller in a queue (`queue list members`). Times are UTC, in whole seconds."""

    queue: str
    uuid: str  #: of this pass through the queue
    session_uuid: str  #: the caller's channel
    caller_number: str | None
    caller_name: str | None
    started_at: datetime | None  #: the caller's channel came to exist; None after a resume
    joined_at: datetime | None  #: this entry into the queue
    bridged_at: datetime | None  #: an agent answered
    agent: str | None  #: who serves, or is being rung
    state: str


@immutable
class ListedAgent:
    """An agent (`agent list`). Times are UTC, in whole seconds; None for what never happened."""

    name: str
    status: str
    state: str
    status_at: datetime | None  #: the status was set
    offered_at: datetime | None  #: a call was offered
    bridged_at: datetime | None  #: a call was put through
    freed_at: datetime | None  #: it ended


@immutable
class ListedChannel:
    """A channel that exists (`show channels`)."""

    uuid: str
    call_uuid: str  #: of the channel that this one is joined to; its own where it is alone
    inbound: bool  #: and no side of a loopback
    created_at: datetime | None
    caller_number: str | None
    caller_name: str | None
    dialled: str | None


def rows(answer: str, *, surplus: str | None = None) -> list[dict[str, str]]:
    """The rows of a table by column. Values that a row has too many are taken for parts of the column `surplus` (the
    last one, if none); a row with too few is left out. Raises ListingError."""
    lines = answer.rstrip("\r\n").split("\n")
    if lines[-1].strip() != OK:
        raise ListingError(f"a list without {OK} at its end")
    if len(lines) == 1:
        return []
    if len(lines) > MAX_ROWS + 2:
        raise ListingError(f"a list of {len(lines)} lines, more than {MAX_ROWS}")
    names = lines[0].rstrip("\r").split("|")
    at = names.index(surplus) if surplus in names else len(names) - 1
    found = []
    for line in lines[1:-1]:
        values = line.rstrip("\r").split("|")
        more = len(values) - len(names)
        if more < 0:
            continue
        whole = [*values[:at], "|".join(values[at : at + more + 1]), *values[at + more + 1 :]]
        found.append(dict(zip(names, whole, strict=True)))
    return found


def queue_names(answer: str) -> list[str]:
    """The queues of `callcenter_config queue list`. Raises ListingError."""
    return [row["name"] for row in rows(answer) if row.get("name")]


def members(answer: str) -> list[Member]:
    """The callers of `callcenter_config queue list members <queue>`. Raises ListingError."""
    found = []
    for row in rows(answer, surplus=_FILLED_BY_CALLERS):
        uuid, session = row.get("uuid"), row.get("session_uuid")
        if not uuid or not session:
            continue
        rejoined = seconds(row.get("rejoined_epoch"))
        found.append(
            Member(
                queue=row.get("queue", ""),
                uuid=uuid,
                session_uuid=session,
                caller_number=row.get("cid_number") or None,
                caller_name=row.get("cid_name") or None,
                started_at=seconds(row.get("system_epoch")) if rejoined is None else None,
                joined_at=rejoined or seconds(row.get("joined_epoch")),
                bridged_at=seconds(row.get("bridge_epoch")),
                agent=row.get("serving_agent") or None,
                state=row.get("state", ""),
            )
        )
    return found


def agents(answer: str) -> list[ListedAgent]:
    """The agents of `callcenter_config agent list`. Raises ListingError."""
    return [
        ListedAgent(
            name=row["name"],
            status=row.get("status", ""),
            state=row.get("state", ""),
            status_at=seconds(row.get("last_status_change")),
            offered_at=seconds(row.get("last_offered_call")),
            bridged_at=seconds(row.get("last_bridge_start")),
            freed_at=seconds(row.get("last_bridge_end")),
        )
        for row in rows(answer, surplus=_DIAL_STRING)
        if row.get("name")
    ]


def channel_count(answer: str) -> int:
    """The number in the answer to `show channels count` (`12 total.`). Raises ListingError."""
    first = answer.split(maxsplit=1)[:1]
    if not first or not first[0].isascii() or not first[0].isdigit():
        raise ListingError("no number of channels")
    return int(first[0][:9])


def channels(answer: str) -> list[ListedChannel]:
    """The channels of `show channels as json`. Raises ListingError."""
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise ListingError(f"channels that are not JSON: {error}") from error
    listed = found.get("rows", []) if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ListingError("JSON without rows of channels")
    return [_channel(row) for row in listed[:MAX_ROWS] if isinstance(row, dict) and _text(row, "uuid")]


def _channel(row: dict[str, Any]) -> ListedChannel:
    uuid = _text(row, "uuid") or ""
    return ListedChannel(
        uuid=uuid,
        call_uuid=_text(row, "call_uuid") or uuid,
        inbound=_text(row, "direction") == "inbound" and not inner_side(_text(row, "name")),
        created_at=seconds(_text(row, "created_epoch")),
        caller_number=_text(row, "initial_cid_num", "cid_num"),
        caller_name=_text(row, "initial_cid_name", "cid_name"),
        dialled=_text(row, "initial_dest", "dest"),
    )


def _text(row: dict[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := row.get(name), str) and value), None)
