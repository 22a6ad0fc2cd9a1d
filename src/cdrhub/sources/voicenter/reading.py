"""One CDR being read: its fields, and what was noticed on the way. Pure.

Fields that could not be read (`unread`) are kept in the attributes as sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from cdrhub.model.record import RawRecord
from cdrhub.sources.voicenter import fields

CALL_LOG: Final = "application/vnd.voicenter.calllog+json"
"""Content type of one row of the Call Log's CDR_LIST. A row is also known by its keys, for a file has no type."""


class Reading:
    """The fields of one CDR by the push's names. `zone` is the one in which the vendor writes its epoch, None for UTC;
    `repaired` says that bytes which are not UTF-8 were replaced."""

    def __init__(self, cdr: Mapping[str, Any], *, record: RawRecord, zone: ZoneInfo | None, repaired: bool) -> None:
        self.digest = record.digest
        self.zone = zone
        self.flags: set[str] = {"text_repaired"} if repaired else set()
        self.unmapped: dict[str, str] = {}
        self.call_log = record.content_type == CALL_LOG or fields.is_call_log_row(cdr)
        self.known, self.unknown = fields.read(cdr, call_log=self.call_log)
        self.unread: set[str] = set()  #: fields that could not be read and go to the attributes as sent

    def text(self, name: str) -> str:
        """A field as text, "" where there is none, or no text."""
        value = self.known.get(name)
        if type(value) is str:
            return value  # stripped when it was read
        text = "" if value is None else fields.text(value)
        if value and not text:
            self.flags.add("value_dropped")
            self.unread.add(name)
        return text

    def seconds(self, name: str) -> int | None:
        """A field as whole seconds; None where there is none, or no number."""
        value = self.known.get(name)
        if value is None:
            return None
        number = fields.whole(value)
        if number is None:
            self.flags.add("value_dropped")
            self.unread.add(name)
        return number
