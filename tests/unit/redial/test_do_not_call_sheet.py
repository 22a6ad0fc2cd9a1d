"""Do-not-call lists from CSV: with and without a header, all of them or every problem."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cdrhub.errors import UsageError
from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.do_not_call_sheet import read_do_not_call
from cdrhub.redial.given import GivenDoNotCall
from cdrhub.redial.number_cells import Reading
from cdrhub.sheet import SheetRead, SheetUnreadable


def moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time") from error


def read(text: str, until: datetime | None = None) -> SheetRead[GivenDoNotCall]:
    return read_do_not_call(
        text,
        source="lagos",
        reading=Reading(plan=NumberPlan(region="NG"), tenant="acme"),
        said_by="registry",
        until=until,
        read_until=moment,
    )


@pytest.mark.parametrize(
    "text",
    [
        "0803 910 0001\n08039100002\n",
        "number\n0803 910 0001\n08039100002\n",
        "name;Phone\nx;0803 910 0001\n;08039100002",
    ],
    ids=["no-header", "number", "phone"],
)
def test_numbers_with_and_without_a_header(text: str) -> None:
    sheet = read(text)
    assert sheet.problems == []
    assert [(one.number, one.tenant, one.region_of, one.source, one.until) for one in sheet.given] == [
        ("0803 910 0001", "acme", "lagos", "registry", None),
        ("08039100002", "acme", "lagos", "registry", None),
    ]


def test_a_row_may_say_who_and_until_when() -> None:
    later = datetime(2027, 1, 1, tzinfo=UTC)
    first, second = read("number,until,source\n08039100001,2027-03-01,ade\n08039100002,,\n", until=later).given
    assert (first.source, first.until) == ("ade", datetime(2027, 3, 1, tzinfo=UTC))
    assert (second.source, second.until) == ("registry", later)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number,until\n08039100001,soon\n", "line 2, column until: 'soon' is not a time"),
        ("number,until\n,2027-01-01\n", "line 2, column number: there is no number"),
        ("number\nhello\n", "line 2, column number: 'hello' is no telephone number"),
        ("08039100001\nhello\n", "line 2, column number: 'hello' is no telephone number"),
        ("name,email\nx,y\n", "line 1: there is no column number: there are name, email"),
        ("number,phone\n08039100001,08039100001\n", "line 1, column phone: means the same as the column number"),
        ("number,source\n08039100001," + "x" * 300, "line 2, column source: 300 characters: 255 at most"),
    ],
)
def test_a_bad_row_is_named(text: str, said: str) -> None:
    assert [str(problem) for problem in read(text).problems] == [said]


@pytest.mark.parametrize("text", ["", "number\n", "\n"])
def test_a_list_without_numbers_is_refused(text: str) -> None:
    with pytest.raises(SheetUnreadable):
        read(text)
