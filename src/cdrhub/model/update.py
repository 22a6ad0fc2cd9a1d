"""An update: what one record says of one call.

`decode(record) -> CallUpdate | AgentState | Ignored`, or DecodeError. The values of an update are storable as they
are: text without NUL or lone surrogates and within its length, integers and times within what every engine can hold.
What had to be changed for that is flagged (`text_repaired`, `text_cut`, `value_dropped`), and the record keeps the
bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from hashlib import blake2b
from math import isfinite
from typing import Any
from unicodedata import category

from cdrhub.model.agent import AgentState
from cdrhub.model.immutable import immutable

MAX_KEY = 255  #: characters of a call key, leg key; a longer one is hashed by its decoder (`bounded_key`)
MAX_TEXT = 255  #: characters of any other text column
MAX_URL = 2048
MAX_ATTRIBUTE_TEXT = 65_536  #: characters of one text inside `attributes` (transcripts)
MAX_SECONDS = 2**31 - 1
MAX_COST = Decimal(10) ** 8  #: exclusive; four decimals are kept
_FOUR_DECIMALS = Decimal("0.0001")
MIN_TIME = datetime(1970, 1, 2, tzinfo=UTC)  #: in every zone after the zero of a clock, which says that none was set
MAX_TIME = datetime(2100, 1, 1, tzinfo=UTC)

LENGTHS = {"recording_url": MAX_URL}  #: characters of text columns that may hold more than MAX_TEXT

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Authority(IntEnum):
    """Whose word outranks whose. Within one field the highest authority that says anything decides."""

    INFERENCE = 0  #: concluded by the hub: any vendor's record outranks it
    PROVISIONAL = 1  #: says something of the call that a later kind of record decides (Click2Call leg 1)
    RECORD = 2
    DECISIVE = 3  #: the record that decides (Click2Call leg 2, the customer's leg of an originate)


@immutable
class Sequence:
    """The vendor's own order: comparable within one `core` (a start of the switch) only."""

    core: str
    number: int


@immutable
class LegUpdate:
    """What a record says of one leg.

    `leg_key` identifies the leg within the call, with one exception: a switch that offers the same call to the same
    agent again names both attempts alike. Where it gives the attempt's time (`attempt_at`, UTC), updates more than
    a second and a half apart are different legs. A record that does not know that time may name the attempt instead
    (`attempt_id`, e.g. the agent's channel, or the pass through a queue of which several records tell). `values` are
    columns of `call_legs` (docs/model.md).

    `yields`: the outcome is no more than this record alone could tell, and gives way where the records beside it tell
    that a person answered (a 3CX queue's line ends with `timeout` when the agent's line begins).
    """

    leg_key: str
    values: Mapping[str, Any]
    attempt_at: datetime | None = None
    attempt_id: str | None = None
    yields: bool = False


@immutable
class CallUpdate:
    """One observation of one call. `at` is UTC; `values` and `legs[].values` are columns, missing = says nothing.

    A key that is present with None means "known not to be derivable": it stops the fold from deriving that column
    from the legs, and yields to any other record's value. `final` marks the record after which the vendor says no
    more. `digest` is the record's and breaks the last tie. An update that does not `opens` a call belongs to it once
    another one does, and makes none by itself (asterCC: an agent's phone rings, the customer's does not yet).
    Columns in `computed` are worked out by the decoder from what the record says: where a fuller record of the same
    kind works out another value, the vendor did not contradict itself.
    """

    call_key: str
    kind: str
    digest: bytes
    values: Mapping[str, Any]
    legs: tuple[LegUpdate, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    at: datetime | None = None
    sequence: Sequence | None = None
    event_id: str | None = None
    authority: Authority = Authority.RECORD
    final: bool = False
    opens: bool = True
    computed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ignored:
    """A message that says nothing of a call (heartbeat, queue count). `why` is a metric label: a short constant.

    `warning` is set where a person should look (`queue_calls` on an Enigma list means the wrong Redis).
    """

    why: str
    warning: str | None = None


Decoded = CallUpdate | AgentState | Ignored


def storable(values: Mapping[str, Any], flags: set[str]) -> dict[str, Any]:
    """`values`, columns by name, as every engine can store them; adds to `flags` what had to be changed.

    Empty text is dropped: in every vendor's format it means "not said". Text is stripped.
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        kind = type(value)
        if kind is str:
            text = value.strip()
            if not text:
                continue
            if len(text) > MAX_TEXT or not (text.isascii() and text.isprintable()):
                text = clean_text(text, flags, limit=LENGTHS.get(name, MAX_TEXT)).strip()
                if not text:  # it was control characters, which a phone system means as little as blanks
                    continue
            out[name] = text
        elif value is None:
            out[name] = value
        elif kind is datetime or isinstance(value, datetime):
            if MIN_TIME <= value < MAX_TIME:
                out[name] = value
            else:
                flags.add("value_dropped")
        elif kind is int:
            if -MAX_SECONDS <= value <= MAX_SECONDS:
                out[name] = value
            else:
                flags.add("value_dropped")
        elif isinstance(value, str):  # a word of an enumeration
            out[name] = value
        elif isinstance(value, Decimal):
            # Not abs(): its result is rounded, and of 1e999999999 there is none.
            kept = value.quantize(_FOUR_DECIMALS) if value.is_finite() and value.copy_abs() < MAX_COST else MAX_COST
            if kept.copy_abs() < MAX_COST:  # rounding may have led there
                out[name] = kept
            else:
                flags.add("value_dropped")
        else:
            raise TypeError(f"{name}: {type(value).__name__} is not a value of a call")
    return out


def clean_text(text: str, flags: set[str], *, limit: int) -> str:
    """`text` without NUL, lone surrogates and control characters other than tab and newline, cut at `limit`."""
    repaired = text
    if not text.isascii():
        repaired = _LONE_SURROGATE.sub("\ufffd", repaired)
    if not repaired.isprintable():
        repaired = "".join(c for c in repaired if c in "\t\n" or category(c) != "Cc")
    if repaired != text:
        flags.add("text_repaired")
    if len(repaired) > limit:
        flags.add("text_cut")
        repaired = repaired[:limit]
    return repaired


def storable_json(value: Any, flags: set[str], *, depth: int = 8) -> Any:
    """`value` as a JSON column can hold it on every engine: clean text, finite numbers, bounded depth."""
    if isinstance(value, str):
        if value.isascii() and value.isprintable() and len(value) <= MAX_ATTRIBUTE_TEXT:
            return value
        return clean_text(value, flags, limit=MAX_ATTRIBUTE_TEXT)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -(2**53) < value < 2**53:
            return value
        return str(value)[:MAX_TEXT]
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if depth == 0:
        flags.add("value_dropped")
        return None
    if isinstance(value, Mapping):
        return {
            clean_text(str(key), flags, limit=MAX_KEY): storable_json(item, flags, depth=depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, Iterable):
        return [storable_json(item, flags, depth=depth - 1) for item in value]
    return clean_text(str(value), flags, limit=MAX_TEXT)


def bounded_key(key: str) -> str:
    """A key that fits its column: a longer one is replaced by its beginning and a digest, never cut blindly."""
    if len(key) <= MAX_KEY and key.isascii() and key.isprintable():
        return key
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    flags: set[str] = set()
    return f"{clean_text(key, flags, limit=MAX_KEY - 40)}~{digest}"
