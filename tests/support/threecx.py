"""3CX records for tests: the captured lines, and a shortcut from a line to the call it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.sources.base import DirectoryEntry
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.decode import decoder
from cdrhub.sources.threecx.layout import STANDARD_20, STANDARD_27
from support.records import raw_record

CAPTURES = Path(__file__).resolve().parent.parent / "captures" / "threecx" / "lines.txt"
RECEIVED_AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
UTC_SETTINGS = ThreeCXSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """One captured line and the layout of its group."""

    number: int  #: from 1, in the order of the file
    body: bytes
    layout: tuple[str, ...]


def captured() -> Iterator[Captured]:
    """The captured lines."""
    layout: tuple[str, ...] = ()
    number = 0
    for line in CAPTURES.read_text(encoding="utf-8").splitlines():
        if line.startswith("# layout:"):
            layout = tuple(line.removeprefix("# layout:").strip().split(","))
        elif line and not line.startswith("#"):
            number += 1
            yield Captured(number=number, body=line.encode(), layout=layout)


def record(line: str | bytes) -> RawRecord:
    """The record of one line."""
    body = line if isinstance(line, bytes) else line.encode()
    return raw_record(body, source="pbx", received_at=RECEIVED_AT, content_type="text/csv", config_revision="test")


def update_of(line: str | bytes, settings: ThreeCXSettings = UTC_SETTINGS) -> CallUpdate:
    """What a line says."""
    update = decoder(settings)(record(line))
    assert isinstance(update, CallUpdate)
    return update


def call_of(*lines: str | bytes, settings: ThreeCXSettings = UTC_SETTINGS) -> Call:
    """The call that lines become."""
    return fold([update_of(line, settings) for line in lines])


def entries(**kinds: Sequence[str]) -> tuple[DirectoryEntry, ...]:
    """A directory: `entries(queue=["611"], person=["101"])`."""
    return tuple(
        DirectoryEntry.model_validate({"number": number, "kind": kind})
        for kind, numbers in kinds.items()
        for number in numbers
    )


_ORDINARY = {
    "historyid": "23193",
    "callid": "00000172FF10D141_4445",
    "duration": "00:01:00",
    "time-start": "2026/03/02 08:00:00",
    "time-answered": "2026/03/02 08:00:05",
    "time-end": "2026/03/02 08:01:05",
    "reason-terminated": "TerminatedBySrc",
    "from-no": "0496270365",
    "to-no": "Ext.101",
    "from-dn": "10000",
    "to-dn": "101",
    "dial-no": "101",
}


def line_20(**fields: str) -> str:
    """A constructed line of the 20 standard fields: an answered inbound call, but for what `fields` say."""
    return _line(STANDARD_20, fields)


def line_27(**fields: str) -> str:
    """The same of the 27 standard fields."""
    return _line(STANDARD_27, fields)


def _line(names: Sequence[str], fields: Mapping[str, str]) -> str:
    values = _ORDINARY | {name.replace("_", "-"): value for name, value in fields.items()}
    return "Call " + ",".join(values.get(name, "") for name in names)


LINE_20 = line_20()


#: Lines of one call: through a queue, its agent's own, and that of a colleague who let it ring.
QUEUE_LINE = line_27(
    to_no="Ext.611", to_dn="611", dial_no="611", from_type="Line", to_type="Queue", final_type="Extension",
    final_number="Ext.101", final_dn="101", reason_changed="ReplacedDst", reason_terminated="TerminatedBySrc",
    duration="00:01:25", time_answered="2026/03/02 08:00:00", time_end="2026/03/02 08:01:25",
)  # fmt: skip
AGENT_LINE = line_27(
    to_no="Ext.101", to_dn="101", dial_no="101", from_type="Line", to_type="Extension",
    time_start="2026/03/02 08:00:20", time_answered="2026/03/02 08:00:25", time_end="2026/03/02 08:01:25",
    duration="00:01:00", reason_terminated="TerminatedBySrc",
)  # fmt: skip
COLLEAGUE_LINE = line_27(
    to_no="Ext.102", to_dn="102", dial_no="102", from_type="Line", to_type="Extension", duration="", time_answered="",
    time_start="2026/03/02 08:00:02", time_end="2026/03/02 08:00:17", reason_terminated="timeout",
)  # fmt: skip
