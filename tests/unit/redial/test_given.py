"""Numbers as people write them, into those that are dialled."""

from __future__ import annotations

from collections.abc import Iterator

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.given import GivenNumber, kept_as, read_numbers
from cdrhub.redial.order_errors import NumberUnusable


def with_a_bracketed_zero() -> Iterator[tuple[str, str]]:
    """A number of each country in which people write one, and its E.164 form."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            digits = phonenumbers.national_significant_number(example)
            e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            if digits.startswith("0") or phonenumbers.ndd_prefix_for_region(region, True) == "0":
                yield f"+{example.country_code} (0){digits.removeprefix('0')}", e164


def test_a_bracketed_zero_is_dialled_where_it_is_a_part_of_the_number_and_nowhere_else() -> None:
    written = dict(with_a_bracketed_zero())
    read = {text: read_numbers([GivenNumber(number=text)], NumberPlan())[0].e164 for text in written}
    assert read == written
    assert len(written) > 100


@pytest.mark.parametrize(
    ("text", "e164"),
    [
        ("+39 (0)331 123456", "+390331123456"),  # +39331123456 is somebody's mobile telephone
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("+44 (0) 20794", None),
    ],
)
def test_a_bracketed_zero(text: str, e164: str | None) -> None:
    assert read_numbers([GivenNumber(number=text)], NumberPlan())[0].e164 == e164


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0803 910 0001 / 0805 910 0002", "NG"),
        ("08039100001;08059100002", "NG"),
        ("08039100001, 08059100002", "NG"),
        ("08039100001 08059100002", "NG"),
        ("08039100001 - 08059100002", "NG"),
        ("+2348039100001 or +2348059100002", None),
        ("08039100001/2", "NG"),
        ("030 1234567 / 89", "DE"),
        ("22 12 34 56 22 12 34 57", "NO"),
    ],
)
def test_several_numbers_are_not_read_as_one(text: str, region: str | None) -> None:
    with pytest.raises(NumberUnusable, match="more than one telephone number"):
        read_numbers([GivenNumber(number=text)], NumberPlan(region=region))


@pytest.mark.parametrize("text", ["+0803 910 0001", "+00234 803 910 0001", "+(0)803 910 0001"])
def test_no_country_begins_with_a_zero(text: str) -> None:
    """Such a number is another one than `0803 …` to the do-not-call list, and to a telephone the same."""
    with pytest.raises(NumberUnusable, match="begins with 0"):
        read_numbers([GivenNumber(number=text)], NumberPlan(region="NG"))


@pytest.mark.parametrize("text", ["08039100001 / 08059100002", "0803910000108059100002"])
def test_what_is_longer_than_any_number_is_none(text: str) -> None:
    with pytest.raises(NumberUnusable, match="is no telephone number"):
        read_numbers([GivenNumber(number=text)], NumberPlan())


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("030/123456", "DE", "+4930123456"),
        ("0211/555 123-0", "DE", "+492115551230"),
        ("+47 / 22123456", "NO", "+4722123456"),
        ("0803-910-0001", "NG", "+2348039100001"),
    ],
)
def test_a_stroke_or_a_dash_may_stand_within_a_number(text: str, region: str, e164: str) -> None:
    assert [read.key for read in read_numbers([GivenNumber(number=text)], NumberPlan(region=region))] == [e164]


def test_a_number_from_abroad_is_none_behind_an_outside_line() -> None:
    """`0` and `033 …` would be the telephone of somebody in Germany."""
    plan = NumberPlan(region="DE", strip_prefixes=("0",))
    spellings = ["0033 1 23 45 67 89", "+33 1 23 45 67 89"]
    assert [read.key for read in read_numbers([GivenNumber(number=text) for text in spellings], plan)] == [
        "+33123456789"
    ]


@pytest.mark.parametrize(("text", "region"), [("999", "GB"), ("9 99", "GB"), ("112", None), ("0000000000", "AU")])
def test_an_emergency_number_is_nobodys(text: str, region: str | None) -> None:
    with pytest.raises(NumberUnusable, match="emergency"):
        read_numbers([GivenNumber(number=text)], NumberPlan(region=region))


def test_one_telephone_of_argentina_is_in_a_case_once() -> None:
    given = [GivenNumber(number="+54 9 11 2345 6789"), GivenNumber(number="011 2345 6789", do_not_call=True)]
    (number,) = read_numbers(given, NumberPlan(region="AR"))
    assert (number.key, number.do_not_call) == ("+5491123456789", True)


def test_a_number_may_be_kept_as_it_was_read_without_a_region() -> None:
    assert kept_as("+2348039100001") == {"+2348039100001", "2348039100001", "08039100001"}
    assert kept_as("08039100001") == {"08039100001"}
    assert kept_as("+525512345678") == {"+525512345678", "525512345678", "5512345678", "5215512345678"}
