"""Numbers as people of each country write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdrhub.model.numbers import NumberPlan, in_ascii_digits, is_emergency, party, read_number, spellings

NIGERIA = NumberPlan(region="NG", strip_prefixes=("9",))


@pytest.mark.parametrize(
    ("raw", "e164", "inside", "unparsed"),
    [
        ("08039100000", "+2348039100000", False, False),
        ("234803900000", None, False, True),
        ("2348039100000", "+2348039100000", False, False),
        ("908039100000", "+2348039100000", False, False),
        ("(0803) 910 0000", "+2348039100000", False, False),
        ("00234 803 910 0000", "+2348039100000", False, False),
        ("9 00 33 1 40 30 00 01", "+33140300001", False, False),
        ("0044 20794", None, False, True),
        ("+33 1 40 30 00 01", "+33140300001", False, False),
        ("611", None, True, False),
        ("Ext.101", None, True, False),
        ("08039100000*5", "+2348039100000", False, False),
        ("anonymous", None, False, False),
        ("sip:0803910@x", None, False, True),
        ("9" * 50, None, False, True),
        ("", None, False, False),
    ],
)
def test_a_number(raw: str, e164: str | None, inside: bool, unparsed: bool) -> None:
    number = read_number(raw, NIGERIA)
    assert (number.raw, number.e164, number.inside) == (raw, e164, inside)
    assert number.unparsed == unparsed


def test_a_party_puts_both_forms_beside_each_other() -> None:
    values: dict[str, Any] = {}
    flags: set[str] = set()
    party(values, flags, "caller", "08039100000", NIGERIA)
    party(values, flags, "callee", "611", NIGERIA)
    assert values == {"caller_number": "08039100000", "caller_e164": "+2348039100000", "callee_number": "611"}
    assert not flags
    party(values, flags, "callee", "0000000000", NIGERIA)
    assert flags == {"number_unparsed"}
    party(values, flags, "caller", "", NIGERIA)
    party(values, flags, "caller", None, NIGERIA)
    assert values["caller_number"] == "08039100000"


def test_two_spellings_of_one_number_are_comparable() -> None:
    assert read_number("08039100000", NIGERIA).comparable == read_number("+234 803 910 0000", NIGERIA).comparable
    assert read_number("0000-000-000", NIGERIA).comparable == "0000000000"
    assert read_number("anonymous", NIGERIA).comparable == "anonymous"


@pytest.mark.parametrize(
    ("raw", "dialled", "written"),
    [
        ("0033 1 23 45 67 89", "+4933123456789", "+33123456789"),
        ("0044 1632 960000", "+49441632960000", None),  # a range that nobody has: not a number of Germany for that
        ("0 030 1234567", "+49301234567", "+49301234567"),
        ("030 1234567", "+49301234567", "+49301234567"),
    ],
)
def test_what_leads_abroad_is_an_outside_line_only_where_somebody_dialled_it(
    raw: str, dialled: str, written: str | None
) -> None:
    plan = NumberPlan(region="DE", strip_prefixes=("0",))
    assert read_number(raw, plan).e164 == dialled
    assert read_number(raw, replace(plan, as_dialled=False)).e164 == written


@pytest.mark.parametrize(
    ("text", "region", "emergency"),
    [
        ("112", None, True),
        ("999", None, True),  # of a telephone without a SIM card
        ("100", None, False),
        ("911", "US", True),
        ("112", "US", True),
        ("999", "US", False),
        ("999", "GB", True),
        ("99 99 99", "GB", True),  # the first three digits are enough
        ("9999999999", "GB", True),
        ("000", "AU", True),
        ("101", "IL", True),
        ("9911", "US", True),  # an outside line
        ("112 3456789", "IN", False),  # a number of Delhi
        ("+911", "US", False),
        ("08039100000", "NG", False),
        ("", "NG", False),
        ("9", "US", False),
    ],
)
def test_an_emergency_number(text: str, region: str | None, emergency: bool) -> None:
    assert is_emergency(text, NumberPlan(region=region, strip_prefixes=("9",))) is emergency


def test_a_mobile_telephone_of_mexico_has_one_form() -> None:
    written = ["+52 1 55 1234 5678", "+52 55 1234 5678", "5215512345678", "0052 1 55 1234 5678"]
    assert {read_number(text, NumberPlan()).e164 for text in written} == {"+525512345678"}
    assert read_number("+52 1 55 1234 567", NumberPlan()).e164 is None


@pytest.mark.parametrize(
    ("number", "same"),
    [
        ("+5491123456789", {"+5491123456789", "+541123456789"}),
        ("+541123456789", {"+5491123456789", "+541123456789"}),
        ("+5411234567", {"+5411234567"}),
        ("+33140300001", {"+33140300001"}),
        ("12345", {"12345"}),
    ],
)
def test_a_number_of_argentina_has_two_spellings(number: str, same: set[str]) -> None:
    assert spellings(number) == same


@pytest.mark.parametrize(
    "typed",
    [
        "+234 803-9",
        "\uff0b\uff12\uff13\uff14 \uff18\uff10\uff13\uff0d\uff19",
        "+\u0662\u0663\u0664 \u06f8\u06f0\u06f3-\u096f",
    ],
)
def test_digits_of_any_script_are_digits(typed: str) -> None:
    assert in_ascii_digits(typed) == "+234 803-9"
