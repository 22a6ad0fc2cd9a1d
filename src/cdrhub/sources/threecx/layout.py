"""Layouts: which field of a 3CX line stands in which column.

The administrator of the PBX chooses the set and the order of the fields, also on a running PBX, so the order is
configuration. Without it the two orders in general use are told apart by their count: the 27 fields of the list that
3CX gives out (reproduced at https://www.tim4biz.com/pbx/3cx/), and the first 20 of them, which is what PBXs write
that know neither types nor display names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from cdrhub.errors import DecodeError, Reason

#: The names as 3CX spells them, in the default order.
STANDARD_27 = (
    "historyid",
    "callid",
    "duration",
    "time-start",
    "time-answered",
    "time-end",
    "reason-terminated",
    "from-no",
    "to-no",
    "from-dn",
    "to-dn",
    "dial-no",
    "reason-changed",
    "final-number",
    "final-dn",
    "bill-code",
    "bill-rate",
    "bill-cost",
    "bill-name",
    "chain",
    "from-type",
    "to-type",
    "final-type",
    "from-dispname",
    "to-dispname",
    "final-dispname",
    "missed-queue-calls",
)
STANDARD_20 = STANDARD_27[:20]

STANDARD_LAYOUTS: Mapping[int, tuple[str, ...]] = {len(names): names for names in (STANDARD_27, STANDARD_20)}

PREFIX = b"Call "
"""Literal text before the first field, whatever the first field is; its absence is tolerated."""

PREFIX_TEXT = PREFIX.decode()


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names` as a layout; ValueError that names the first one that is not a field of 3CX or stands there twice."""
    if not names:
        raise ValueError("`fields` is empty: list the fields in the order chosen on the PBX, or leave the key out")
    for position, name in enumerate(names):
        if name not in STANDARD_27:
            near = get_close_matches(name.strip().lower(), STANDARD_27, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(STANDARD_27)}"
            raise ValueError(f"`fields`: 3CX has no field {name!r}: {hint}")
        if name in names[:position]:
            raise ValueError(f"`fields`: {name!r} is listed twice")
    return tuple(names)


@cache
def positions(names: tuple[str, ...]) -> Mapping[str, int]:
    """Column of each field of a layout, from 0."""
    return {name: column for column, name in enumerate(names)}


class Line(NamedTuple):
    """The fields of one line, stripped; empty text where the layout lacks the field or the PBX left it blank."""

    historyid: str
    callid: str
    duration: str
    time_start: str
    time_answered: str
    time_end: str
    reason_terminated: str
    from_no: str
    to_no: str
    from_dn: str
    to_dn: str
    dial_no: str
    reason_changed: str
    final_number: str
    final_dn: str
    bill_code: str
    bill_rate: str
    bill_cost: str
    bill_name: str
    chain: str
    from_type: str
    to_type: str
    final_type: str
    from_dispname: str
    to_dispname: str
    final_dispname: str
    missed_queue_calls: str


class Reader:
    """Splits lines of some layouts into their fields. Layouts are told apart by their count."""

    def __init__(self, layouts: Sequence[tuple[str, ...]]) -> None:
        #: By count: a getter of the 27 fields from the columns and one empty text behind them.
        self._getters = {len(names): _getter(names) for names in layouts}
        self._expected = " or ".join(str(count) for count in sorted(self._getters))

    def read(self, body: bytes) -> Line:
        """The fields of a line with or without `Call ` and CR LF. DecodeError if their count fits no layout.

        Bytes that are not UTF-8 become lone surrogates. Quotes as in RFC 4180 are understood where the count does
        not fit without them: 3CX writes none, and a name may begin with one.
        """
        text = body.decode("utf-8", "surrogateescape")
        text = text.removeprefix(PREFIX_TEXT)
        columns = text.split(",")
        getter = self._getters.get(len(columns))
        if getter is None:
            columns, getter = self._quoted(text, len(columns))
        columns = [column.strip() for column in columns]
        columns.append("")
        return Line._make(getter(columns))

    def _quoted(self, text: str, unquoted_count: int) -> tuple[list[str], _Getter]:
        if '"' in text:
            try:
                rows = list(csv.reader([text.rstrip("\r\n")], strict=True))
            except csv.Error:
                rows = []
            if len(rows) == 1 and (getter := self._getters.get(len(rows[0]))) is not None:
                return rows[0], getter
        raise self._wrong_count(text, unquoted_count)

    def _wrong_count(self, text: str, count: int) -> DecodeError:
        if not text.strip():
            return DecodeError(Reason.UNPARSABLE, "an empty line")
        came = f"{count} field{'s' if count > 1 else ''} came, {self._expected} expected"
        if count == 1:
            why = (
                "no comma at all is no record of 3CX, or the PBX writes fixed-width records, which are not supported: "
                "switch off 'remove comma delimiters' there"
            )
        elif count > max(self._getters):
            why = (
                "either the set of fields on the PBX is no longer the one in `fields`, or a name holds a comma: put "
                "the display names last on the PBX, or take them out"
            )
        else:
            why = "the set of fields on the PBX is not the one in `fields`: make the two agree, then replay"
        return DecodeError(Reason.WRONG_FIELD_COUNT, f"{came}: {why}")


_Getter = Callable[[Sequence[str]], tuple[str, ...]]


def _getter(names: tuple[str, ...]) -> _Getter:
    columns = positions(names)
    return itemgetter(*(columns.get(name, -1) for name in STANDARD_27))
