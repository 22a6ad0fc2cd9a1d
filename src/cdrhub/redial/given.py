"""Cases, numbers and what must not be called, as people and CRMs give them, and how their numbers are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from unicodedata import category
from zoneinfo import available_timezones

from cdrhub.model.numbers import NumberPlan, in_ascii_digits, is_emergency, national_digits, read_number, spellings
from cdrhub.redial.model import Number
from cdrhub.redial.order_errors import NumberUnusable
from cdrhub.store.redial_tables import MAX_CODE, MAX_NUMBER

MAX_NUMBERS = 100  #: of one case
MAX_METADATA_BYTES = 16 * 1024  #: of a case, as JSON
NO_CODES = frozenset({".", ".."})  #: a path that ends so is another one (RFC 3986, 5.2.4)
MAX_DIALLED = 20  #: digits: 15 of E.164, and what leads abroad
_DIALLABLE = re.compile(r"(?:ext\.)?\+?\d[\d ./-]*", re.IGNORECASE | re.ASCII)
_BETWEEN = re.compile(r"[;,/|]|\band\b|\bor\b", re.IGNORECASE)
_GAP = re.compile(r"[ -]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenNumber:
    """A number as an integrator gives it. `known`: what it was read as already, by the plan of its case's source."""

    number: str
    label: str = ""
    do_not_call: bool = False  #: kept with the case, and not dialled for it
    known: Number | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenCase:
    """A case as an integrator gives it."""

    code: str
    source: str
    numbers: Sequence[GivenNumber]
    tenant: str = ""
    agent: str = ""
    campaign: str = ""
    timezone: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenDoNotCall:
    """A number that must not be called. It is read as the source `region_of` reads numbers; `source` is who says so."""

    number: str
    tenant: str = ""
    region_of: str = ""
    source: str = ""
    until: datetime | None = None  #: None: for ever


def read_numbers(given: Sequence[GivenNumber], plan: NumberPlan) -> tuple[Number, ...]:
    """The numbers of a case in their order, each spelling of one number once; what one spelling forbids, all do.

    Raises NumberUnusable for what nobody can dial, letters or no digit at all, and for the numbers of the police: `999`
    is often written where a number is missing.
    """
    found: dict[str, Number] = {}
    for one in given:
        text = one.number.strip()
        if not text:
            continue
        key, e164 = (one.known.key, one.known.e164) if one.known is not None else _read(text, plan)
        same = min(spellings(key))
        number = found.setdefault(
            same, Number(position=len(found) + 1, number=text, key=key, e164=e164, label=one.label[:MAX_CODE])
        )
        if one.do_not_call:
            found[same] = replace(number, do_not_call=True)
    if len(found) > MAX_NUMBERS:
        raise NumberUnusable(f"a case has {MAX_NUMBERS} numbers at most, not {len(found)}")
    return tuple(found.values())


@cache
def known_zones() -> frozenset[str]:
    """The IANA names of time zones that this machine knows. Looking for them reads folders for some 20 ms, and each row
    of a sheet asks."""
    return frozenset(available_timezones())


@lru_cache(maxsize=65_536)
def kept_as(key: str) -> frozenset[str]:
    """The keys under which a number may be kept: its own, that of its other spelling, and its digits, as which it was
    read where its source had no `region` or no numbering plan knew it."""
    if not key.startswith("+"):
        return frozenset({key})
    found = {key}
    for each in spellings(key):
        found |= {each, each.removeprefix("+"), national_digits(each)}
    if key.startswith("+52"):
        found.add(f"521{key.removeprefix('+52')}")  # how Mexico's mobile telephones were called until 2019
    return frozenset(found)


def dialled(number: str, *, key: str, e164: str | None) -> str:
    """How an order names a number that stands as `number` in its case: in E.164. One that no numbering plan knows keeps
    the plus sign that it was given with: `+4420794` without it would be the telephone of somebody else."""
    if e164 is None and _spelt(number).startswith("+"):
        return f"+{key}"
    return key


def _read(text: str, plan: NumberPlan) -> tuple[str, str | None]:
    """(key, E.164 form) of one number. Raises NumberUnusable."""
    plan = replace(plan, as_dialled=False)
    spelt = _spelt(text)
    with_zero = _spelt(text, bracketed_zero="0")
    if with_zero.startswith("+0"):
        raise NumberUnusable(f"{text[:MAX_NUMBER]!r} is no telephone number: no country's code begins with 0")
    read = read_number(with_zero, plan)
    if read.e164 is None:
        read = read_number(spelt, plan)
    if len(text) <= MAX_NUMBER and _are_several(spelt, plan, valid=read.e164 is not None):
        raise NumberUnusable(f"{text!r} is more than one telephone number: write each by itself")
    key = read.comparable
    digits = key.removeprefix("+")
    if (
        len(text) > MAX_NUMBER
        or not _DIALLABLE.fullmatch(spelt)
        or not digits.isdigit()
        or (len(digits) > MAX_DIALLED and read.e164 is None)
    ):
        raise NumberUnusable(f"{text[:MAX_NUMBER]!r} is no telephone number")
    if is_emergency(spelt, plan):
        raise NumberUnusable(f"{text!r} is an emergency number: nobody is called there")
    return key, read.e164


def _are_several(text: str, plan: NumberPlan, *, valid: bool) -> bool:
    """Whether a text, which is `valid` as one number or not, holds more than one: `0803 … / 0805 …`, `0803 …/2`. What
    stands before a stroke is no number if it is an area code."""

    def is_one(part: str) -> bool:
        return read_number(part.strip(), plan).e164 is not None

    first, *others = _BETWEEN.split(text)
    if others and (is_one(first) or sum(map(is_one, others)) > 1):
        return True
    gaps = () if valid else _GAP.finditer(text)
    return any(is_one(text[: gap.start()]) and is_one(text[gap.end() :]) for gap in gaps)


def _spelt(text: str, *, bracketed_zero: str = "") -> str:
    """A number as people write it, without what is no part of it: marks of direction, hard spaces, long dashes, the
    brackets around an area code, and the `(0)` behind a country code. Where that one is dialled, as in Italy, only a
    numbering plan knows: `bracketed_zero` is what stands for it."""
    plain = "".join("-" if category(each) == "Pd" else each for each in in_ascii_digits(text) if category(each) != "Cf")
    if plain.startswith("+"):
        plain = plain.replace("(0)", bracketed_zero)
    return plain.replace("(", " ").replace(")", " ").strip()
