"""Where in `calls` a telephone number stands, each place found by an index.

The outside party of a call is found by `external_number`, in E.164, however the number is spelled. What has no such
form, and the own side of a call (a number of ours that was called, an extension), is found as it was sent.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, select

from cdrhub.model.numbers import NumberPlan, in_ascii_digits, national_digits, read_number
from cdrhub.model.update import MAX_TEXT
from cdrhub.store.tables import DIALLED_OTHERWISE, OWN_CALLEE, OWN_CALLER, calls

SUFFIX_DIGITS = 7  #: of a number in national spelling; fewer would find strangers

_AS_SENT = (
    (calls.c.caller_number, OWN_CALLER),
    (calls.c.callee_number, OWN_CALLEE),
    (calls.c.dialed_number, DIALLED_OTHERWISE),
)


def places_of(number: str, *, region: str | None, readings: frozenset[str]) -> list[ColumnElement[bool]]:
    """Conditions of which a call with that number fulfils one; none for what has no digit.

    `number` in any spelling; `region` (ISO 3166-1) reads a national one, and `readings` are what it means to others, in
    E.164. One that nobody can read is taken for the end of an outside number, where it is long enough.
    """
    said = number.strip()[:MAX_TEXT]
    raw = in_ascii_digits(said)
    digits = re.sub(r"\D", "", raw)
    if not digits:
        return []
    read = read_number(raw, replace(NumberPlan(extensions=r"(?!)"), region=region)).e164
    e164 = readings | ({read} if read is not None else set())
    outside = calls.c.external_number
    places: list[ColumnElement[bool]] = [outside == one for one in sorted(e164)]
    national = digits.lstrip("0")
    if not e164 and len(national) >= SUFFIX_DIGITS:
        ending = calls.alias("ending")
        places.append(outside.in_(select(ending.c.external_number).where(ending.c.external_number.endswith(national))))
    sent = {said, raw, digits, f"+{digits}"}
    for one in e164:
        sent |= {one, one.removeprefix("+"), national_digits(one)}
    return places + [and_(column == one, where) for column, where in _AS_SENT for one in sorted(sent)]
