"""Numbers that are valid in a country, for the customers and the lines of a simulated contact centre.

libphonenumber has an example number for each country and no way to make others, so the last digits of the example are
varied and what its own rules call invalid is left out.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import phonenumbers

from cdrhub.model.numbers import NumberPlan, read_number

CUSTOMERS: Final = 1_000  #: numbers of a country, at most
VARIED_DIGITS: Final = 6  #: at the end of a country's example number


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One telephone number in the forms that phone systems send."""

    e164: str  #: +33612345678
    dialled: str  #: as it is dialled inside its country: 0612345678

    @property
    def international(self) -> str:
        """Country code and number without the plus: 33612345678."""
        return self.e164.removeprefix("+")


@cache
def customers(region: str) -> tuple[Number, ...]:
    """Valid mobile numbers of a country (ISO 3166-1 alpha-2), always the same ones in the same order. ValueError where
    libphonenumber has no example to begin from."""
    mobile = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    example = mobile or phonenumbers.example_number(region)
    return _varied(example, region, limit=CUSTOMERS)


@cache
def lines(region: str) -> tuple[Number, ...]:
    """Valid numbers at which the contact centre itself is reached. ValueError as `customers`."""
    fixed = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.FIXED_LINE)
    example = fixed or phonenumbers.example_number(region)
    return _varied(example, region, limit=4)


def _varied(example: phonenumbers.PhoneNumber | None, region: str, *, limit: int) -> tuple[Number, ...]:
    if example is None:
        raise ValueError(f"{region!r} has no numbers: write a two-letter country such as 'NG'")
    plan = NumberPlan(region=region)
    national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    forms = (re.sub(r"\D", "", national), phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))
    dialled = next(form for form in forms if read_number(form, plan).e164 is not None)
    chance = random.Random(0)  # noqa: S311 - a simulation, no secret
    kept = dialled[:-VARIED_DIGITS]
    found = {dialled}
    found.update(f"{kept}{chance.randrange(10**VARIED_DIGITS):0{VARIED_DIGITS}}" for _ in range(limit - 1))
    read = ((number, read_number(number, plan).e164) for number in sorted(found))
    return tuple(Number(e164=e164, dialled=number) for number, e164 in read if e164 is not None)
