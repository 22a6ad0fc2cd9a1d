"""Layouts: which field of a 3CX line stands in which column.

The administrator of the PBX chooses the set and the order of the fields, also on a running PBX, so the order is
configuration. Without it the orders in general use are told apart by their count: the 27 fields of the list that
3CX gives out (reproduced at https://www.tim4biz.com/pbx/3cx/), and the first 20 of them, which is what PBXs write
that know neither types nor display names. Of the 27 two orders are met in the field; where the type words stand tells
which one a line has.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import IntEnum
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.threecx.words import names_a_type

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

#: The order that a PBX writes on which all fields were selected one by one: the names and the types change places.
SELECTED_27 = (
    *STANDARD_20,
    "missed-queue-calls",
    "from-dispname",
    "to-dispname",
    "final-dispname",
    "from-type",
    "to-type",
    "final-type",
)

STANDARD_LAYOUTS: Mapping[int, tuple[str, ...]] = {len(names): names for names in (STANDARD_27, STANDARD_20)}

PREFIX = b"Call "
"""Literal text before the first field, whatever the first field is; its absence is tolerated."""

PREFIX_TEXT = PREFIX.decode()

#: What other protocols begin with: an HTTP request or header, SSH, and the binary ones (TLS, RDP, SMB). A stranger
#: writes the line: with two parts side by side that may both be long, every way of dividing it would be tried.
_FOREIGN = re.compile(r"[A-Z]+ \S.* HTTP/\d|[A-Za-z][A-Za-z-]*: |SSH-\d|.{0,8}[\x00-\x08\x0e-\x1f]")


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
    """Splits lines into their fields; layouts are told apart by their number of fields.

    With `standard`, nobody configured the layouts: which order a line of 27 fields has is seen from where its type
    words stand.
    """

    def __init__(self, layouts: Sequence[tuple[str, ...]], *, standard: bool) -> None:
        self._standard = standard
        #: By count: a getter of the 27 fields from the columns and one empty text behind them.
        self._getters = {len(names): _getter(names) for names in layouts}
        self._expected = " or ".join(str(count) for count in sorted(self._getters))

    def read(self, body: bytes) -> Line:
        """The fields of a line with or without `Call ` and CR LF. DecodeError if their count fits no layout.

        Bytes that are not UTF-8 become lone surrogates. Quotes as in RFC 4180 are understood where the count does
        not fit without them: 3CX writes none, and a name may begin with one.
        """
        text = body.decode("utf-8", "surrogateescape")
        line = text.removeprefix(PREFIX_TEXT)
        columns = line.split(",")
        getter = self._getters.get(len(columns))
        if getter is None:
            columns, getter = self._quoted(line, len(columns), prefixed=line is not text)
        columns = [column.strip() for column in columns]
        if self._standard and len(columns) == len(STANDARD_27):
            getter = _by_types(columns, getter)
            columns.append("")
            return _plausible(Line._make(getter(columns)))
        columns.append("")
        return Line._make(getter(columns))

    def _quoted(self, text: str, unquoted_count: int, *, prefixed: bool) -> tuple[list[str], _Getter]:
        if '"' in text:
            try:
                rows = list(csv.reader([text.rstrip("\r\n")], strict=True))
            except csv.Error:
                rows = []
            if len(rows) == 1 and (getter := self._getters.get(len(rows[0]))) is not None:
                return rows[0], getter
        raise self._wrong_count(text, unquoted_count, prefixed=prefixed)

    def _wrong_count(self, text: str, count: int, *, prefixed: bool) -> DecodeError:
        if not text.strip():
            return DecodeError(Reason.UNPARSABLE, "an empty line")
        if not prefixed and (count == 1 or _FOREIGN.match(text)):
            return DecodeError(Reason.UNPARSABLE, "not a 3CX line: a probe?")
        came = f"{count} field{'s' if count > 1 else ''} came, {self._expected} expected"
        if count == 1:
            why = (
                "a line without a comma is of fixed width, which is not supported: "
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


class _Fit(IntEnum):
    """How well three columns are the types of the parties."""

    NO = 0  #: there are words, and none is a type
    EMPTY = 1
    PARTLY = 2  #: a type beside a word never seen
    FULL = 3


def _fit(words: Sequence[str]) -> _Fit:
    said = [word for word in words if word]
    if not said:
        return _Fit.EMPTY
    known = sum(names_a_type(word) for word in said)
    if known == len(said):
        return _Fit.FULL
    return _Fit.PARTLY if known else _Fit.NO


def _by_types(columns: Sequence[str], standard: _Getter) -> _Getter:
    """The getter for a line of 27 fields in an order that nobody configured. DecodeError if it can have neither.

    The default order holds unless the line contradicts it: a display name may be the word `Queue` as well."""
    first = _fit(columns[_STANDARD_TYPES])
    if first is _Fit.FULL:
        return standard
    second = _fit(columns[_SELECTED_TYPES])
    if second is _Fit.FULL or (second is _Fit.PARTLY and first is _Fit.NO):
        return _SELECTED_GETTER
    if first is _Fit.NO:
        shown = [word[:_SHOWN] for word in columns[_STANDARD_TYPES]]
        raise DecodeError(
            Reason.BAD_VALUE,
            f"27 fields came, and {shown!r} are no types of parties: the order on the PBX is another than the default "
            "one; write it into `fields`, then replay",
        )
    return standard


def _plausible(line: Line) -> Line:
    """`line` itself, read in an order that nobody configured. DecodeError if a name has slipped into the next column: a
    PBX that writes 26 fields, one of them a name with a comma, makes 27."""
    agents = [dn for dn in line.missed_queue_calls.split(";") if dn.strip()]
    slipped = ""
    if not all(any(map(str.isdigit, dn)) for dn in agents):
        slipped = f"missed-queue-calls is {line.missed_queue_calls[:_SHOWN]!r}, which is no list of extensions"
    elif line.final_dispname and not (line.final_number or line.final_dn or line.final_type):
        slipped = f"final-dispname is {line.final_dispname[:_SHOWN]!r}, and there is no final party"
    if slipped:
        raise DecodeError(
            Reason.BAD_VALUE,
            f"27 fields came, and {slipped}: either a name holds a comma, or the order on the PBX is another than the "
            "default one; write it into `fields`, then replay",
        )
    return line


def _getter(names: tuple[str, ...]) -> _Getter:
    columns = positions(names)
    return itemgetter(*(columns.get(name, -1) for name in STANDARD_27))


_SELECTED_GETTER = _getter(SELECTED_27)
_STANDARD_TYPES = slice(STANDARD_27.index("from-type"), STANDARD_27.index("final-type") + 1)
_SELECTED_TYPES = slice(SELECTED_27.index("from-type"), SELECTED_27.index("final-type") + 1)
_SHOWN = 20  #: characters of a word in a message
