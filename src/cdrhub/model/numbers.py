"""Telephone numbers: the raw one is kept, E.164 (ITU-T recommendation E.164) stands beside it.

A plan is what a source's administrator knows: the country of its national numbers, the digits dialled for an
outside line, the pattern of its extensions. Parsing is libphonenumber's (the phonenumbers package); its results
are cached, for a contact centre sees the same numbers again and again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from unicodedata import decimal, normalize

import phonenumbers
from phonenumbers import shortnumberinfo

CACHED_NUMBERS = 65_536
MAX_DIGITS = 40  #: what is longer is no telephone number and is not parsed
MAX_REMEMBERED = 64  #: characters; of what is longer, which a stranger may write, none is kept in memory

_ABROAD = "00"  #: leads abroad in most countries, and is written so in the others too (ITU-T recommendation E.123)
_EXTENSION_PREFIX = re.compile(r"^ext\.", re.IGNORECASE)
_TELEPHONE = re.compile(r"^\+?\(?[0-9][0-9 ()./-]*$")
_NO_DIGITS = re.compile(r"\D+")
_ARGENTINA = re.compile(r"\+549?([1-8]\d{9})")
_MEXICO = re.compile(r"521(\d{10})")
_EMERGENCY = frozenset({"112", "911"})  #: of every mobile telephone, in whatever country (3GPP TS 22.101, 10.1.1)
_EMERGENCY_SOMEWHERE = _EMERGENCY | {"000", "08", "110", "118", "119", "999"}  #: the same of one without a SIM card


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberPlan:
    """How the numbers of one source read.

    `region` is an ISO 3166-1 alpha-2 code or None; `strip_prefixes` are outside-line digits; `extensions` is a
    regular expression that the whole of an inside number matches. `unassigned`: the system checks its numbers itself,
    so one of the region's length that is written with its trunk prefix or country code is taken although libphonenumber
    knows no such range (Voicenter's own documents are full of them). `as_dialled`: it may begin with the digits for an
    outside line, which are taken off first; else it is a number as people write it, and is read as it stands first.
    """

    region: str | None = None
    strip_prefixes: tuple[str, ...] = ()
    extensions: str = r"^\d{2,6}$"
    unassigned: bool = False
    as_dialled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One number understood: `e164` or None; `inside` for an extension; `unparsed` for one that should have an
    E.164 form and has none."""

    raw: str
    e164: str | None
    inside: bool
    unparsed: bool

    @property
    def comparable(self) -> str:
        """What two spellings of one number have in common: E.164, else the digits, else the text."""
        return self.e164 or _NO_DIGITS.sub("", self.raw) or self.raw


@cache
def load_numbering_plans() -> None:
    """Read the plans of all countries, once, in a tenth of a second. libphonenumber reads each from its file when
    it first meets the country, under a lock that a reading which fails never gives back
    (https://github.com/daviddrysdale/python-phonenumbers, phonemetadata.py): who has no free descriptor at that moment
    stands still at the next number, for ever."""
    phonenumbers.PhoneMetadata.load_all()
    for region in shortnumberinfo.SUPPORTED_SHORT_REGIONS:
        phonenumbers.PhoneMetadata.short_metadata_for_region(region)


def read_number(raw: str, plan: NumberPlan) -> Number:
    """`raw` under `plan`. Never raises."""
    return _remembered(raw, plan) if len(raw) <= MAX_REMEMBERED else _read(raw, plan)


def is_emergency(text: str, plan: NumberPlan) -> bool:
    """Whether who dials `text` reaches the police or an ambulance: also `999999`, for the first digits are enough. Not
    a number that an ordinary one is, nor one with a country code. Of a plan without a region what phones dial without
    a SIM card counts."""
    if text.strip().startswith("+") or read_number(text, plan).e164 is not None:
        return False
    digits, region = _NO_DIGITS.sub("", text), plan.region
    dialled = {digits, *(digits[len(prefix) :] for prefix in plan.strip_prefixes if digits.startswith(prefix))}
    if region is None:
        return not dialled.isdisjoint(_EMERGENCY_SOMEWHERE)
    return not dialled.isdisjoint(_EMERGENCY) or any(
        shortnumberinfo.connects_to_emergency_number(each, region) for each in dialled if each
    )


def in_ascii_digits(text: str) -> str:
    """A text as people type it with the digits of any script (Arabic ones, those of full width) as 0 to 9."""
    return "".join(str(decimal(each)) if each.isdecimal() else each for each in normalize("NFKC", text))


def inside_number(text: str) -> str:
    """A number without the `Ext.` that some systems write before their own ones."""
    return _EXTENSION_PREFIX.sub("", text.strip())


def _read(raw: str, plan: NumberPlan) -> Number:
    text = raw.strip()
    if inside_number(text) != text or re.fullmatch(plan.extensions, text):
        return Number(raw=raw, e164=None, inside=True, unparsed=False)
    text = re.split(r"[*#]", text, maxsplit=1)[0].strip()
    if len(text) > MAX_DIGITS or not _TELEPHONE.match(text):
        return Number(raw=raw, e164=None, inside=False, unparsed=bool(re.search(r"\d{7}", raw)))
    for candidate in _readings(text, plan):
        if (e164 := _valid(candidate, plan.region)) is not None:
            return Number(raw=raw, e164=e164, inside=False, unparsed=False)
    e164 = _possible(text, plan.region) if plan.unassigned and plan.region is not None else None
    return Number(raw=raw, e164=e164, inside=False, unparsed=e164 is None)


_remembered = lru_cache(maxsize=CACHED_NUMBERS)(_read)


def party(values: dict[str, Any], flags: set[str], side: str, raw: str | None, plan: NumberPlan) -> None:
    """Put the number of one `side` ("caller", "callee") into `values`: raw as sent, E.164 where it has one.

    A number that should have an E.164 form and has none adds the flag `number_unparsed`; an empty one says nothing.
    """
    if not raw:
        return
    number = read_number(raw, plan)
    values[f"{side}_number"] = raw
    if number.e164 is not None:
        values[f"{side}_e164"] = number.e164
    elif number.unparsed:
        flags.add("number_unparsed")


def spellings(e164: str) -> frozenset[str]:
    """A number and how else the same telephone is written in E.164: one of Argentina with a 9 behind the country code,
    as mobile ones are called from abroad, and without it. No two telephones differ in that alone, and libphonenumber
    takes them for two (https://github.com/google/libphonenumber/issues/684)."""
    found = _ARGENTINA.fullmatch(e164)
    return frozenset((f"+54{found[1]}", f"+549{found[1]}") if found is not None else (e164,))


def national_digits(e164: str) -> str:
    """The digits with which a valid number is dialled in its own country."""
    number = phonenumbers.parse(e164)
    return _NO_DIGITS.sub("", phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))


def _readings(text: str, plan: NumberPlan) -> list[str]:
    """What a text may mean, the likeliest first: with and without the digits for an outside line, then the same as
    international numbers."""
    stripped = [text[len(p) :] for p in plan.strip_prefixes if p and text.startswith(p) and len(text) > len(p)]
    if not plan.as_dialled and text.startswith(_ABROAD):
        stripped = []
    readings = [*stripped, text] if plan.as_dialled else [text, *stripped]
    digits = [_NO_DIGITS.sub("", reading) for reading in readings]
    digits += [each.removeprefix(_ABROAD) for each in digits if each.startswith(_ABROAD)]
    # Mexico's mobile telephones had a 1 behind the country code until 2019, and many still write it.
    without = [f"+52{found[1]}" for each in digits if (found := _MEXICO.fullmatch(each)) is not None]
    return readings + [f"+{each}" for each in digits] + without


def _possible(text: str, region: str) -> str | None:
    """The E.164 form of a number of `region` that has a possible length and is written with the trunk prefix or the
    country code, though it need not be in use (`NumberPlan.unassigned`)."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    digits = _NO_DIGITS.sub("", text)
    trunk = phonenumbers.ndd_prefix_for_region(region, True) or "+"
    if number.country_code != phonenumbers.country_code_for_region(region):
        return None
    if not digits.startswith((trunk, str(number.country_code))) or not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _valid(text: str, region: str | None) -> str | None:
    """The E.164 form of a number that lies in a range in use; None for any other text."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
