"""Rows as the engines' own drivers take them: plain tuples in a fixed order of columns.

A batch is sorted and sent without SQLAlchemy's machinery, which would cost several times as much as the rest of a
write. Records begin with (source, digest) and calls with (source, call_key), so that sorting the tuples puts them in
the order in which every writer takes its locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson

from cdrhub.model.agent import AgentState
from cdrhub.model.call import Call, Leg
from cdrhub.model.inference import Coverage
from cdrhub.store.batch import Item
from cdrhub.store.tables import MAX_DETAIL
from cdrhub.store.types import hour_of
from cdrhub.surrogates import without_surrogates

Row = tuple[Any, ...]

APPLIED = "applied"
IGNORED = "ignored"
SUSPENDED = "suspended"
DISCARDED = "discarded"

_NOT_COLUMNS = frozenset({"legs", "final", "opened"})
_IN_HEAD = frozenset({"call_key", "attributes", "flags"})

#: Columns of `calls` that are fields of a folded Call, other than its key, attributes and flags.
FOLDED_COLUMNS = tuple(f.name for f in fields(Call) if f.name not in _NOT_COLUMNS | _IN_HEAD)

#: What a write of an existing call sets; source, key, id, system, tenant and the attached columns stay.
UPDATED_COLUMNS = (
    "sort_at",
    "record_count",
    "revision",
    "first_received_at",
    "last_received_at",
    "updated_at",
    "replaced_by",
    "attributes",
    "flags",
    *FOLDED_COLUMNS,
)
KEPT_COLUMNS = ("source", "call_key", "id", "system", "tenant")
CALL_COLUMNS = (*KEPT_COLUMNS, *UPDATED_COLUMNS)
ID_POSITION = CALL_COLUMNS.index("id")

_LEG_FIELDS = tuple(f.name for f in fields(Leg))
LEG_COLUMNS = ("call_id", *_LEG_FIELDS, "hour")

RECORD_COLUMNS = (
    "source",
    "digest",
    "received_at",
    "event_id",
    "content_type",
    "body",
    "attributes",
    "call_id",
    "state",
    "reason",
    "detail",
    "decoder_revision",
    "config_revision",
)
FACT_COLUMNS = ("call_id", "source", "type", "revision", "due_at", "snapshot")
COVERAGE_COLUMNS = ("hub", "source", "since", "until", "state", "detail")
UNOPENED_COLUMNS = ("source", "call_key", "record_source", "digest", "since")

folded_values: Callable[[Call], Row] = attrgetter(*FOLDED_COLUMNS)
_leg_values: Callable[[Leg], Row] = attrgetter(*_LEG_FIELDS)

_dumps = orjson.dumps


def json_object(value: Mapping[str, Any]) -> str:
    """A JSON object as text; TypeError for what JSON cannot hold."""
    return _dumps(value).decode() if value else "{}"


def json_list(value: Sequence[str]) -> str:
    """A JSON list as text."""
    return _dumps(value).decode() if value else "[]"


def call_row(
    call: Call,
    *,
    call_id: str,
    item: Item,
    record_count: int,
    revision: int,
    received: tuple[datetime, datetime],
    now: datetime,
    sort_at: datetime | None = None,
) -> Row:
    """The row of `calls`; `item` is any record of the call, `received` its first and last receipt. `sort_at` is given
    for a row that keeps its place in lists, whatever the call says now."""
    return (
        item.owner,
        call.call_key,
        call_id,
        item.system,
        item.tenant,
        sort_at or call.sort_at or received[0],
        record_count,
        revision,
        received[0],
        received[1],
        now,
        None,
        json_object(call.attributes),
        json_list(call.flags),
        *folded_values(call),
    )


def leg_rows(call_id: str, call: Call, *, received_at: datetime) -> list[Row]:
    """The rows of `call_legs`; `received_at` is the first receipt of the call."""
    sort_at = call.sort_at or received_at
    return [(call_id, *_leg_values(leg), hour_of(leg.offered_at or sort_at)) for leg in call.legs]


def record_row(
    item: Item, call_id: str | None, *, state: str = APPLIED, reason: str | None = None, detail: str | None = None
) -> Row:
    """The row of `records`."""
    record, outcome = item.record, item.outcome
    event_id = record.event_id
    if event_id is None and isinstance(outcome, AgentState):
        event_id = outcome.event_id  # by which replay finds the state again
    return (
        record.source,
        record.digest,
        record.received_at,
        event_id,
        record.content_type,
        record.body,
        json_object(record.attributes),
        call_id,
        state,
        reason,
        detail if detail is None else storable_detail(detail),
        item.decoder_revision,
        record.config_revision,
    )


def coverage_row(source: str, span: Coverage) -> Row:
    """The row of `coverage`."""
    return (span.hub, source, span.since, span.until, span.state, storable_detail(span.detail))


def storable_detail(detail: str) -> str:
    """Why a record is in suspense, as every engine can store it."""
    text = without_surrogates(detail).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text[:MAX_DETAIL]
