"""How records lie in the journal: many in one BLOB. Pure.

A payload is a sequence of *chunks*, and two payloads put one behind the other are a payload again, so that the
writer joins whatever waits without looking into it. A chunk is a run of records of one origin::

    u32 count, u32 length, origin: JSON [source, content_type, config_revision, attributes]
    then count times:
      i64 received_at in microseconds since 1970, u32 length of body, i32 length of event_id or -1, u8 of digest
      digest, event_id in UTF-8, body

All integers are little-endian. One row per record was measured first: Python's sqlite3 gives up the interpreter lock
at every row, and beside a busy event loop a group of 200 records took 350 ms; one packed row takes 6 ms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception, named as one
from typing import Any, NamedTuple

import orjson

from cdrhub.model.record import RawRecord

RECORD_OVERHEAD_BYTES = 64  #: counted for each record beside its body: head, digest, its share of the origin

_CHUNK = Struct("<II")
_RECORD = Struct("<qIiB")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_EVENT_ID = -1
_EVENT_ID_ERRORS = "surrogatepass"  #: an id with a broken character must not cost us the record

_encode_any_json = json.JSONEncoder(separators=(",", ":"), default=dict).encode


class Entry(NamedTuple):
    """A record and its place in the journal. `seq` rises by one from record to record and is never used again."""

    seq: int
    record: RawRecord


class Damaged(Exception):
    """A payload that `pack` cannot have written."""


def microseconds(moment: datetime) -> int:
    """Whole microseconds from 1970 to an aware time; exact."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(amount: int) -> datetime:
    """The UTC time that many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=amount)


def size_of(records: Sequence[RawRecord]) -> int:
    """Bytes that these records count for in the journal's limits."""
    return sum([len(record.body) for record in records]) + RECORD_OVERHEAD_BYTES * len(records)


def pack(records: Sequence[RawRecord]) -> bytes:
    """The payload of these records. TypeError when an attribute is no JSON value or a time is not aware."""
    parts: list[bytes] = []
    add = parts.append
    head = _RECORD.pack
    chunk_at, count = 0, 0
    source = content_type = revision = None
    attributes: Mapping[str, Any] | None = None
    moment: datetime | None = None
    received = 0
    for record in records:
        if (
            record.attributes is not attributes
            or record.source != source
            or record.config_revision != revision
            or record.content_type != content_type
        ):
            if count:
                parts[chunk_at] = _CHUNK.pack(count, len(parts[chunk_at + 1]))
            attributes, source = record.attributes, record.source
            revision, content_type = record.config_revision, record.content_type
            chunk_at, count = len(parts), 0
            add(b"")
            add(_origin([source, content_type, revision, attributes]))
        if record.received_at is not moment:
            moment = record.received_at
            received = microseconds(moment)
        count += 1
        body, digest = record.body, record.digest
        if record.event_id is None:
            parts += (head(received, len(body), _NO_EVENT_ID, len(digest)), digest, body)
        else:
            event_id = record.event_id.encode("utf-8", _EVENT_ID_ERRORS)
            parts += (head(received, len(body), len(event_id), len(digest)), digest, event_id, body)
    if count:
        parts[chunk_at] = _CHUNK.pack(count, len(parts[chunk_at + 1]))
    return b"".join(parts)


def _origin(said: list[Any]) -> bytes:
    """The origin of a chunk. orjson takes a tenth of the time, which a record that comes by itself notices, and
    refuses what only the standard library writes: lone surrogates, numbers beyond 64 bits."""
    try:
        return orjson.dumps(said, default=dict)
    except orjson.JSONEncodeError:
        return _encode_any_json(said).encode()


def unpack(
    payload: bytes, *, first: int, last: int, after: int, limit: int, max_bytes: int, least: int = 0
) -> list[Entry]:
    """The entries of a payload whose records are `first` to `last`, beginning behind `after`.

    At most `limit`, and bodies of at most `max_bytes` in sum, but not fewer than `least` where there are so many.
    Raises Damaged.
    """
    entries: list[Entry] = []
    try:
        _unpack(payload, entries, first=first, last=last, after=after, limit=limit, max_bytes=max_bytes, least=least)
    except (StructError, ValueError, TypeError, OverflowError) as error:
        raise Damaged(str(error)) from error
    return entries


def _unpack(
    payload: bytes, entries: list[Entry], *, first: int, last: int, after: int, limit: int, max_bytes: int, least: int
) -> None:
    at, end, seq, taken = 0, len(payload), first, 0
    known, moment = None, _EPOCH
    while at < end:
        count, length = _CHUNK.unpack_from(payload, at)
        at += _CHUNK.size
        source, content_type, revision, attributes = json.loads(payload[at : at + length])
        at += length
        for _ in range(count):
            received, body_length, event_length, digest_length = _RECORD.unpack_from(payload, at)
            digest_at = at + _RECORD.size
            event_at = digest_at + digest_length
            body_at = event_at + max(0, event_length)
            at = body_at + body_length
            if at > end:
                raise Damaged(f"the record of entry {seq} ends behind its payload")
            if seq > after:
                taken += body_length
                if len(entries) == limit or (taken > max_bytes and len(entries) >= least):
                    return
                if received != known:
                    known, moment = received, from_microseconds(received)
                record = RawRecord(
                    source=source,
                    received_at=moment,
                    content_type=content_type,
                    body=payload[body_at:at],
                    digest=payload[digest_at:event_at],
                    config_revision=revision,
                    event_id=None
                    if event_length == _NO_EVENT_ID
                    else payload[event_at:body_at].decode("utf-8", _EVENT_ID_ERRORS),
                    attributes=attributes,
                )
                entries.append(Entry(seq, record))
            seq += 1
    if seq != last + 1:
        raise Damaged(f"it holds {seq - first} records, not {last + 1 - first}")
