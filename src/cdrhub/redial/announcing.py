"""What is told of a call that settled, given what was told of it before. Pure.

Each call gives exactly one of `call.hangup` (its case goes on by itself) and `call.ended`, ever. What changes
afterwards is told as `call.corrected`, which names the public columns that changed; nothing is told where none did, so
that a duplicate record or a repetition raises no event. One that was told as withdrawn and is a call again is corrected
in its `state`. `calls.announced` remembers: which of the two it was, a print of every public column, and whether it was
told as withdrawn.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

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
PRINT_BYTES = 3  #: of one column: a change is overlooked once in 16 million


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """One fact to be told, and what `calls.announced` becomes."""

    type: str
    announced: Mapping[str, Any] | None
    changed: tuple[str, ...] = ()


def announcement(
    columns: Mapping[str, Any], *, announced: Mapping[str, Any] | None, goes_on: bool
) -> Announcement | None:
    """What is told of a settled call with these columns, or None.

    `announced` is what stands in `calls.announced`; `goes_on`: its case goes on by itself.
    """
    if columns["state"] == "withdrawn":
        if announced is None or announced.get("withdrawn"):
            return None
        return Announcement(type=WITHDRAWN, announced={**announced, "withdrawn": True})
    prints = _prints(columns)
    told = {"print": b64encode(b"".join(prints)).decode()}
    if announced is None:
        kind = HANGUP if goes_on else ENDED
        return Announcement(type=kind, announced={"end": kind, **told})
    before = _read(announced)
    back = announced.get("withdrawn", False)
    changed = tuple(
        name
        for name, now, then in zip(PUBLIC, prints, before, strict=False)
        if now != then or (back and name == "state")
    )
    if not changed:
        return None
    return Announcement(type=CORRECTED, announced={"end": announced["end"], **told}, changed=changed)


def is_news(columns: Mapping[str, Any]) -> bool:
    """Whether what became of the call is told for the first time: a recording that comes an hour later is not."""
    said = announcement(columns, announced=columns["announced"], goes_on=False)
    return columns["announced"] is None or (said is not None and "disposition" in said.changed)


def _prints(columns: Mapping[str, Any]) -> list[bytes]:
    return [_print(columns[name]) for name in PUBLIC]


def _print(value: Any) -> bytes:
    if value is None:
        return b"\0" * PRINT_BYTES
    text = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
    return blake2b(text.encode(), digest_size=PRINT_BYTES).digest()


def _read(announced: Mapping[str, Any]) -> list[bytes]:
    whole = b64decode(announced["print"])
    return [whole[at : at + PRINT_BYTES] for at in range(0, len(whole), PRINT_BYTES)]
