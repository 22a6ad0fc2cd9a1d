"""Telephone numbers in the cells of a sheet. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.given import GivenNumber, read_numbers
from cdrhub.redial.model import Number
from cdrhub.redial.order_errors import NumberUnusable
from cdrhub.sheet import Problem, Row, Sheet, shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the administrator of a source knows of it: how its numbers read, and whose its calls are."""

    plan: NumberPlan
    tenant: str = ""
    into: str = ""  #: the source whose calls its records belong to, where that is another one


def number_in(sheet: Sheet, row: Row, place: int, value: str, reading: Reading) -> Number | None:
    """The telephone number in a cell; None where it is empty, or, with a problem of the sheet, where it is none."""
    if not value or sheet.is_cut_short(row, place, value):
        return None
    try:
        (number,) = read_numbers([GivenNumber(number=value)], reading.plan)
    except NumberUnusable as error:
        sheet.wrong(row.line, place, str(error))
        return None
    if number.e164 is None and not re.fullmatch(reading.plan.extensions, number.key):
        country = reading.plan.region
        why = f"no valid number of {country}" if country else "no valid number, and its source has no `region`"
        sheet.unsure.append(Problem(line=row.line, column=sheet.column(place), said=f"{shown(value)!r} is {why}"))
    return number
