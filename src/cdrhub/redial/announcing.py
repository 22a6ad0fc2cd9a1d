"""What is told of a call that settled, given what was told of it before. Pure.

Each call gives exactly one of `call.hangup` (its case goes on by itself) and `call.ended`, ever. What changes
afterwards is told as `call.corrected`, which names the public columns that changed; nothing is told where none did, so
that a duplicate record or a repetition raises no event. One that was told as withdrawn and is a call again is corrected
in its `state`. `announcements` remembers: which of the two it was, a print of every public column, and whether it was
told as withdrawn.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from zlib import crc32

ENDED = "call.ended"
HANGUP = "call.hangup"
CORRECTED = "call.corrected"
WITHDRAWN = "call.withdrawn"

#: Columns whose change is told, in a fixed order: a print is compared place by place, so new ones are appended only.
PUBLIC = (
    "direction",
    "state",
    "disposition",
    "disposition_raw",
    "cause",
    "ended_by",
    "caller_number",
    "caller_name",
    "callee_number",
    "callee_name",
    "dialed_number",
    "did",
    "caller_e164",
    "callee_e164",
    "external_number",
    "agent_id",
    "agent_name",
    "agent_extension",
    "team",
    "queue",
    "campaign",
    "contact_ref",
    "started_at",
    "answered_at",
    "ended_at",
    "wait_seconds",
    "ring_seconds",
    "talk_seconds",
    "hold_seconds",
    "recording_url",
    "cost",
    "currency",
)
_NEWS = frozenset({"disposition", "direction", "external_number", "caller_number", "callee_number", "dialed_number"})
_NULL = crc32(b"\0")  # which no text is; that of an empty one is 0
_FORMER_BYTES = 3  #: of a print as versions of schema 0003 made them


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """One fact to be told, and what `announcements.announced` becomes."""

    type: str
    announced: Mapping[str, Any] | None
    changed: tuple[str, ...] = ()


def announcement(
    columns: Mapping[str, Any], *, announced: Mapping[str, Any] | None, goes_on: bool
) -> Announcement | None:
    """What is told of a settled call with these columns, or None.

    `announced` is what stands in `announcements.announced`; `goes_on`: its case goes on by itself.
    """
    if columns["state"] == "withdrawn":
        if announced is None or announced.get("withdrawn"):
            return None
        return Announcement(type=WITHDRAWN, announced={**announced, "withdrawn": True})
    prints = _prints(columns)
    memory = {"prints": b64encode(struct.pack(f"<{len(prints)}I", *prints)).decode()}
    if announced is None:
        kind = HANGUP if goes_on else ENDED
        return Announcement(type=kind, announced={"end": kind, **memory})
    back = announced.get("withdrawn", False)
    differs = _differs(columns, prints, announced)
    changed = tuple(name for name, new in zip(PUBLIC, differs, strict=False) if new or (back and name == "state"))
    if not changed:
        return None
    return Announcement(type=CORRECTED, announced={"end": announced["end"], **memory}, changed=changed)


def is_news(columns: Mapping[str, Any]) -> bool:
    """Whether what became of the call, or of whom it was, is told for the first time: a recording that comes an hour
    later is not."""
    news = announcement(columns, announced=columns["announced"], goes_on=False)
    return columns["announced"] is None or (news is not None and not _NEWS.isdisjoint(news.changed))


def _prints(columns: Mapping[str, Any]) -> Sequence[int]:
    return [_print(columns[name]) for name in PUBLIC]


def _print(value: Any) -> int:
    """A checksum of the value: one change in four thousand million goes unnoticed."""
    if value is None:
        return _NULL
    if isinstance(value, str):
        return crc32(value.encode())
    return crc32(str(value.timestamp() if isinstance(value, datetime) else value).encode())


def _differs(columns: Mapping[str, Any], prints: Sequence[int], announced: Mapping[str, Any]) -> Sequence[bool]:
    """Of each column, whether it is another than when it was told."""
    if "prints" not in announced:  # told by a version of schema 0003
        whole = b64decode(announced["print"])
        prints_then = [whole[at : at + _FORMER_BYTES] for at in range(0, len(whole), _FORMER_BYTES)]
        return [_former_print(columns[name]) != then for name, then in zip(PUBLIC, prints_then, strict=False)]
    whole = b64decode(announced["prints"])
    before = struct.unpack(f"<{len(whole) // 4}I", whole)
    return [now != then for now, then in zip(prints, before, strict=False)]


def _former_print(value: Any) -> bytes:
    if value is None:
        return bytes(_FORMER_BYTES)
    text = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
    return blake2b(text.encode(), digest_size=_FORMER_BYTES).digest()
