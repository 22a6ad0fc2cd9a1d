"""A phone system for tests of the store: its messages are JSON, its decoder reads them again at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Table, select

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.inference import Coverage, coverage_inference, decode_inference, encode_inference
from cdrhub.model.record import INFERENCE, RawRecord
from cdrhub.model.update import CallUpdate, Ignored, LegUpdate, storable
from cdrhub.store import Store
from cdrhub.store.batch import Item, Outcome
from cdrhub.store.tables import agent_states, call_legs, calls, coverage, outbox, records
from support.records import raw_record

START = datetime(2026, 3, 9, 10, 0, 0, 123456, tzinfo=UTC)
TEXT = "application/json"
REVISION = "r1"


def at(seconds: float) -> datetime:
    """`seconds` after START."""
    return START + timedelta(seconds=seconds)


def message(key: str, kind: str = "cdr", **said: Any) -> bytes:
    """One message: `values`, `legs` ({key: values}), `attributes`, `flags`, `final`, `opens`, `event_id`, `seconds`.

    A time is a number of seconds after START in a field that ends in `_at`.
    """
    return orjson.dumps({"key": key, "kind": kind, **said}, option=orjson.OPT_SORT_KEYS)


def of_agent(agent: str, state: str, *, kind: str = "state", **said: Any) -> bytes:
    """One message of an agent: `seconds` after START, `reason`, `queue`, `sequence`, `flags`."""
    return orjson.dumps({"agent": agent, "state": state, "kind": kind, **said}, option=orjson.OPT_SORT_KEYS)


def ended(key: str, number: int = 0, **values: Any) -> bytes:
    """The only message of an answered call that ended."""
    begin = float(number)
    return message(
        key,
        values={
            "state": "ended",
            "direction": "inbound",
            "disposition": "answered",
            "started_at": begin,
            "answered_at": begin + 5,
            "ended_at": begin + 65,
            "caller_number": f"+2348039{number:06d}",
            "caller_e164": f"+2348039{number:06d}",
            "agent_id": "102",
            "agent_name": "Ade",
            **values,
        },
        legs={
            "102": {
                "role": "agent",
                "outcome": "answered",
                "agent_id": "102",
                "agent_extension": "102",
                "agent_name": "Ade",
                "offered_at": begin,
                "answered_at": begin + 5,
                "left_at": begin + 65,
            }
        },
        attributes={"note": f"call {number}"},
        final=True,
    )


def story(key: str, number: int = 0) -> list[bytes]:
    """The five messages of a queue call."""
    begin = float(number)
    queue = {"role": "queue", "queue": "sales", "queue_id": "8000"}
    agent = {"role": "agent", "agent_id": "102", "agent_extension": "102"}
    return [
        message(
            key,
            "enter",
            seconds=begin,
            values={"direction": "inbound", "started_at": begin, "caller_e164": f"+2348039{number:06d}"},
            legs={"q": {**queue, "offered_at": begin}},
            event_id=f"{key}/1",
        ),
        message(key, "ring", seconds=begin + 2, legs={"a": {**agent, "offered_at": begin + 2}}, event_id=f"{key}/2"),
        message(
            key,
            "answer",
            seconds=begin + 7,
            legs={
                "q": {**queue, "answered_at": begin + 7, "left_at": begin + 7, "outcome": "answered"},
                "a": {**agent, "answered_at": begin + 7, "outcome": "answered"},
            },
            event_id=f"{key}/3",
        ),
        message(key, "bye", seconds=begin + 60, legs={"a": {"left_at": begin + 60}}, event_id=f"{key}/4"),
        message(
            key,
            "end",
            seconds=begin + 61,
            values={"state": "ended", "ended_at": begin + 61, "ended_by": "caller"},
            attributes={"reason": "normal"},
            event_id=f"{key}/5",
            final=True,
        ),
    ]


def record(body: bytes, *, source: str = "lagos", received: float = 100.0, content_type: str = TEXT) -> RawRecord:
    """A record with that body."""
    event_id = None
    if content_type == TEXT and body.startswith(b"{"):
        event_id = orjson.loads(body).get("event_id") if _is_json(body) else None
    return raw_record(
        body,
        source=source,
        received_at=at(received),
        content_type=content_type,
        config_revision=REVISION,
        event_id=event_id,
        attributes={"peer": "127.0.0.1"},
    )


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def decode(got: RawRecord) -> Outcome:
    """What a record says; the decoder of this phone system."""
    if got.content_type == INFERENCE:
        return decode_inference(got)
    try:
        said = orjson.loads(got.body)
    except orjson.JSONDecodeError as error:
        return DecodeError(Reason.UNPARSABLE, f"no JSON: {error}")
    if "agent" in said:
        return AgentState(
            kind=AgentKind(said["kind"]),
            agent_id=said["agent"],
            state=AgentWord(said["state"]),
            state_raw=said["state"].upper(),
            at=at(said["seconds"]) if "seconds" in said else None,
            reason=said.get("reason"),
            queue=said.get("queue"),
            sequence=said.get("sequence"),
            flags=tuple(said.get("flags", ())),
            event_id=said.get("event_id"),
        )
    if "key" not in said:
        return Ignored(why="heartbeat") if "heartbeat" in said else DecodeError(Reason.MISSING_KEY, "key is missing")
    flags = set(said.get("flags", ()))
    return CallUpdate(
        call_key=said["key"],
        kind=said["kind"],
        digest=got.digest,
        at=at(said["seconds"]) if "seconds" in said else None,
        values=storable(_times(said.get("values", {})), flags),
        legs=tuple(
            LegUpdate(leg_key=key, values=storable(_times(values), flags))
            for key, values in said.get("legs", {}).items()
        ),
        attributes=said.get("attributes", {}),
        flags=frozenset(flags),
        event_id=got.event_id,
        final=said.get("final", False),
        opens=said.get("opens", True),
    )


def _times(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: at(value) if name.endswith("_at") and isinstance(value, int | float) else value
        for name, value in values.items()
    }


def item(body: bytes, **how: Any) -> Item:
    """A decoded record, ready to be written."""
    return reread(record(body, **how))


def reread(got: RawRecord) -> Item:
    """The item of a record, new or old."""
    return Item(
        record=got,
        outcome=decode(got),
        owner=got.source,
        system="ledger",
        tenant="",
        settle_seconds=3.0,
        decoder_revision=1,
    )


def covered(span: Coverage, *, source: str = "lagos") -> Item:
    """The item of a coverage inference."""
    return item(encode_inference(coverage_inference(span)), source=source, content_type=INFERENCE)


def updated(one: Item, **changes: Any) -> Item:
    """An item whose update says something else."""
    assert isinstance(one.outcome, CallUpdate)
    return replace(one, outcome=replace(one.outcome, **changes))


async def rows(store: Store, table: Table) -> list[dict[str, Any]]:
    """All rows of a table."""
    async with store.database.connect() as connection:
        return [dict(row._mapping) for row in await connection.execute(select(table).order_by(*table.primary_key))]


async def count(store: Store, table: Table) -> int:
    """How many rows a table has."""
    return len(await rows(store, table))


async def call_of(store: Store, key: str, *, source: str = "lagos") -> dict[str, Any]:
    """The row of one call."""
    (found,) = [row for row in await rows(store, calls) if (row["call_key"], row["source"]) == (key, source)]
    return found


async def settled_rows(store: Store) -> dict[str, Any]:
    """Everything that must not depend on the way in which the records came: calls and legs by key, records,
    coverage, states of agents.

    Ids, revisions and the time of the write are left out.
    """
    all_calls = await rows(store, calls)
    keys = {row["id"]: (row["source"], row["call_key"]) for row in all_calls}
    passing = ("id", "revision", "updated_at")
    return {
        "calls": {keys[row["id"]]: _without(row, passing) for row in all_calls},
        "legs": {
            (keys[row["call_id"]], row["leg_key"]): _without(row, ("call_id",)) for row in await rows(store, call_legs)
        },
        "records": {
            (row["source"], row["digest"]): _without(row, ("id", "call_id")) | {"call": keys.get(row["call_id"])}
            for row in await rows(store, records)
        },
        "coverage": [_without(row, ("id",)) for row in await rows(store, coverage)],
        "agent_states": {
            (row["source"], row["digest"]): _without(row, ("id",)) for row in await rows(store, agent_states)
        },
    }


async def call_facts(store: Store) -> list[dict[str, Any]]:
    """The facts of calls; those of sources and of records in suspense are left out."""
    return [row for row in await rows(store, outbox) if row["call_id"] is not None]


async def newest_facts(store: Store) -> dict[tuple[str, str], str]:
    """The last fact of each call by its key."""
    keys = {row["id"]: (row["source"], row["call_key"]) for row in await rows(store, calls)}
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for row in await call_facts(store):
        newest[keys[row["call_id"]]] = max(newest.get(keys[row["call_id"]], (0, "")), (row["revision"], row["type"]))
    return {key: kind for key, (_, kind) in newest.items()}


def _without(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def batches(items: Sequence[Item], size: int) -> Iterable[Sequence[Item]]:
    """`items` in pieces of `size`."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))
