"""Numbers as people write them, into those that are dialled."""

from __future__ import annotations

from collections.abc import Iterator

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.given import GivenNumber, read_numbers


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
