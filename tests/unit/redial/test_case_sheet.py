"""Cases from CSV: what spreadsheets of the field write, and every bad row by its place."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.case_sheet import Defaults, read_cases
from cdrhub.redial.given import MAX_NUMBERS, GivenCase, GivenNumber, known_zones
from cdrhub.redial.number_cells import Reading
from cdrhub.sheet import MAX_PROBLEMS, SheetRead, SheetUnreadable, decoded

NIGERIA = NumberPlan(region="NG")
SOURCES = {
    "lagos": Reading(plan=NIGERIA, tenant="acme"),
    "lagos-cdr": Reading(plan=NIGERIA, tenant="acme", into="lagos"),
    "plain": Reading(plan=NumberPlan()),
}


def read(text: str, **defaults: str) -> SheetRead[GivenCase]:
    return read_cases(text, sources=SOURCES, defaults=Defaults(**({"source": "lagos"} | defaults)))


def good(text: str, **defaults: str) -> list[GivenCase]:
    sheet = read(text, **defaults)
    assert sheet.problems == []
    return list(sheet.given)


def numbers(case: GivenCase) -> list[str]:
    return [one.number for one in case.numbers]


def wrong(text: str, **defaults: str) -> list[str]:
    return [str(problem) for problem in read(text, **defaults).problems]


def test_the_headers_of_the_script_and_ours_mean_the_same() -> None:
    (ours,) = good("code,number_1,number_2\nC-1,08039100001,08039100002\n")
    (scripts,) = good("CASE_CODE_STR,PHONE_NUM_1,PHONE_NUM_2\nC-1,08039100001,08039100002\n")
    assert scripts == ours
    assert (ours.code, ours.source, ours.tenant) == ("C-1", "lagos", "acme")


def test_every_column_arrives() -> None:
    (case,) = good(
        "Code;Source;Agent;Campaign;Time Zone;Number 2;LABEL-1;number_1;metadata.Customer No\n"
        "C-1;lagos;101;spring;Africa/Lagos;08039100002;mobile;0803 910 0001;K-77\n"
    )
    assert [(one.number, one.label) for one in case.numbers] == [("0803 910 0001", "mobile"), ("08039100002", "")]
    assert (case.agent, case.campaign, case.timezone) == ("101", "spring", "Africa/Lagos")
    assert case.metadata == {"Customer No": "K-77"}


def test_metadata_may_have_several_lines() -> None:
    (case,) = good('code,number_1,metadata.address\nC-1,08039100001,"1 High Street\r\n\tLagos"\n')
    assert case.metadata == {"address": "1 High Street\r\n\tLagos"}


def test_the_zones_of_the_machine_are_looked_for_once_and_not_for_each_row() -> None:
    known_zones.cache_clear()
    rows = "".join(f"C-{number},08039100001,Africa/Lagos\n" for number in range(3))
    assert len(good(f"code,number_1,timezone\n{rows}")) == 3
    assert known_zones.cache_info().misses == 1


def test_numbers_come_in_the_order_of_their_count_and_gaps_do_not_matter() -> None:
    (case,) = good("number_10,code,number_2,number_1\n08039100010,C-1,,08039100001\n")
    assert numbers(case) == ["08039100001", "08039100010"]


def test_what_a_row_does_not_say_is_the_default() -> None:
    first, second = good("code,number_1,agent\nC-1,08039100001,\nC-2,08039100002,102\n", agent="101", campaign="spring")
    assert (first.agent, second.agent, first.campaign) == ("101", "102", "spring")


@pytest.mark.parametrize(
    "text",
    [
        "code,number_1\r\nC-1,08039100001\r\n",
        "code;number_1\nC-1;08039100001",
        "code\tnumber_1\nC-1\t08039100001\n",
        'sep=;\ncode;number_1\n"C-1";08039100001\n',
        "\ufeffcode,number_1\nC-1,08039100001\n",
        "code,number_1\n\n , \nC-1,08039100001,,\n",
        '"code","number_1"\n"C-1","08039100001"\n',
        "code,number_1,agent\nC-1,08039100001\n",
    ],
    ids=["crlf", "semicolon", "tab", "excel-sep", "bom", "blank-rows", "quoted", "short-row"],
)
def test_what_spreadsheets_write(text: str) -> None:
    (case,) = good(text)
    assert (case.code, numbers(case)) == ("C-1", ["08039100001"])


@pytest.mark.parametrize("cell", ["=1+1", "@x", "-7", "+x", "'=1+1", "=cmd|'/c calc'!A1"])
def test_a_cell_that_looks_like_a_formula_is_data(cell: str) -> None:
    (case,) = good(f'code,number_1\n"{cell}",\'+2348039100001\n')
    assert case.code == cell.removeprefix("'")
    assert numbers(case) == ["+2348039100001"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code,number_1\n,08039100001\n", "line 2, column code: there is no code"),
        ("CASE_CODE_STR,number_1\nC-1,\n", "line 2, column number_1: the case has no number"),
        ("code,PHONE_NUM_1\nC-1,hello\n", "line 2, column PHONE_NUM_1: 'hello' is no telephone number"),
        ("code,number_1\nC-1,12-abc-34\n", "line 2, column number_1: '12-abc-34' is no telephone number"),
        ("code,number_1\nC-1,=1+1\n", "line 2, column number_1: '=1+1' is no telephone number"),
        (
            "code,number_1\nC-1,08039100001 / 08059100002\n",
            "line 2, column number_1: '08039100001 / 08059100002' is more than one telephone number: write each by "
            "itself",
        ),
        (
            "code,number_1\nC-1,2.34804E+12\n",
            "line 2, column number_1: 2.34804E+12 was cut short by a spreadsheet: make the column text there, and "
            "export it again",
        ),
        (
            "code,number_1\n1.23457E+11,08039100001\n",
            "line 2, column code: 1.23457E+11 was cut short by a spreadsheet: make the column text there, and export "
            "it again",
        ),
        (
            "code,number_1,source\nC-1,08039100001,lagoz\n",
            "line 2, column source: there is no source 'lagoz' in the configuration: did you mean 'lagos'?",
        ),
        (
            "code,number_1,source\nC-1,08039100001,lagos-cdr\n",
            "line 2, column source: the calls of lagos-cdr belong to lagos: write lagos",
        ),
        (
            "code,number_1,timezone\nC-1,08039100001,Lagos\n",
            "line 2, column timezone: 'Lagos' is no IANA zone, e.g. Africa/Lagos",
        ),
        (
            "code,number_1\nC-1,08039100001\nC-2,08039100002\nC-1,08039100003\n",
            "line 4, column code: the same code stands in line 2: one row for each case",
        ),
        (
            "code,number_1\nC-1,08039100001,Smith, J\n",
            "line 2: 4 cells, and the header has 2: a cell with a separator in it needs quotes",
        ),
        (f"code,number_1\n{'x' * 129},08039100001\n", "line 2, column code: 129 characters: 128 at most"),
        (
            'code,number_1,agent\nC-1,08039100001,"a\nb"\n',
            "line 2, column agent: must be one line without control characters",
        ),
        (
            "code,number_1,metadata.x\nC-1,08039100001,a\x1b[31m\n",
            "line 2, column metadata.x: must have no control characters",
        ),
        ("code,number_1\n\ud800,08039100001\n", "line 2, column code: must be one line without control characters"),
        (
            'code,number_1\n"a\n\nb",08039100001\n\nC-2,hello\n',
            "line 6, column number_1: 'hello' is no telephone number",
        ),
        (
            "sep=,\ncode,number_1\nC-1,hello\n",
            "line 3, column number_1: 'hello' is no telephone number",
        ),
        ("code,number_1,metadata.x\nC-1,08039100001," + "x" * 20_000, "line 2, column metadata.x: longer than 16384 "),
        (
            f"code,number_1,metadata.x,metadata.y\nC-1,08039100001,{'x' * 8_192},{'y' * 8_192}",
            "line 2: its metadata are 16399 bytes as JSON: 16384 at most",
        ),
        ("code,number_1\n..,08039100001\n", "line 2, column code: must not be . or .."),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(text: str, said: str) -> None:
    assert any(problem.startswith(said) for problem in wrong(text)), wrong(text)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("code", "line 1: there is no column number_1 (or PHONE_NUM_1): there are code"),
        ("number_1,name", "line 1: there is no column code (or CASE_CODE_STR): there are number_1, name"),
        ("code,number_1,nubmer_2", "line 1, column nubmer_2: there is no such column: did you mean number_2?"),
        ("code,number_1,PHONE_NUM_1", "line 1, column PHONE_NUM_1: means the same as the column number_1"),
        ("code,number_1,label_2", "line 1, column label_2: there is no column number_2 that it could be of"),
        ("code,number_1,number_101", f"line 1, column number_101: a case has {MAX_NUMBERS} numbers at most"),
        ("code,number_1" + ",x" * 600, "line 1: 602 columns: 500 at most"),
    ],
)
def test_a_bad_header_is_named_before_any_row(header: str, said: str) -> None:
    assert wrong(f"{header}\nC-1,hello,hello\n") == [said]


def test_every_bad_row_is_named_at_once() -> None:
    assert len(wrong("code,number_1\n" + "".join(f"C-{row},hello\n" for row in range(50)))) == 50


def test_a_sheet_that_is_all_wrong_is_given_up() -> None:
    assert len(wrong("code,number_1\n" + "C,hello\n" * 5_000)) <= MAX_PROBLEMS + 2


def test_a_quote_that_is_never_closed_is_named_where_it_opens() -> None:
    (said,) = wrong('code,number_1\nC-1,08039100001\n"C-2,08039100002\nC-3,08039100003\n')
    assert said.startswith("line 3: this row cannot be read")


def test_other_columns_are_left_alone_and_told() -> None:
    sheet = read("code,number_1,Customer Name,balance\nC-1,08039100001,Ade,5\n")
    assert sheet.unused == ["Customer Name", "balance"]
    assert sheet.given[0].metadata == {}


def test_a_number_that_may_be_wrong_is_taken_and_told() -> None:
    sheet = read("code,number_1,number_2\nC-1,0803910000,101\n")
    assert [str(doubt) for doubt in sheet.unsure] == ["line 2, column number_1: '0803910000' is no valid number of NG"]
    assert numbers(sheet.given[0]) == ["0803910000", "101"]


def test_without_a_region_a_national_number_is_doubted() -> None:
    sheet = read("code,number_1\nC-1,08039100001\n", source="plain")
    assert str(sheet.unsure[0]).endswith("is no valid number, and its source has no `region`")


def test_without_a_source_there_is_a_hint() -> None:
    hint = "there is no source: add a column source, or name one for the whole sheet with --source"
    assert wrong("code,number_1\nC-1,08039100001\nC-2,hello\n", source="") == [f"line 1: {hint}"]
    assert wrong("code,number_1,source\nC-1,08039100001,\n", source="") == [f"line 2, column source: {hint}"]


@pytest.mark.parametrize("text", ["", "\n\n", "code,number_1\n"])
def test_a_sheet_without_rows_is_refused(text: str) -> None:
    with pytest.raises(SheetUnreadable):
        read(text)


@pytest.mark.parametrize(
    ("raw", "encoding", "text"),
    [
        ("é".encode(), None, "é"),
        (b"\xef\xbb\xbfx", None, "x"),
        ("é".encode("utf-16"), None, "é"),
        (b"\xe9", "windows-1252", "é"),
        (b"\xe9\xec", "windows-1255", "יל"),
        (b"\xef\xbb\xbf\xd7\x99", "windows-1255", "י"),
    ],
)
def test_encodings(raw: bytes, encoding: str | None, text: str) -> None:
    assert decoded(raw, encoding=encoding) == text


@pytest.mark.parametrize(
    ("raw", "encoding", "said"),
    [
        (b"a\nb\n\xe9", None, r'^line 3: byte 0xe9 is not UTF-8; save the file as "CSV UTF-8" or else$'),
        (b"\x81", "windows-1252", "^line 1: byte 0x81 is not windows-1252$"),
        (b"x", "windows-9", "there is no encoding 'windows-9'"),
        (b"x", "base64", "there is no encoding 'base64'"),
        (b"xn--\xff", "punycode", "is not punycode"),
        (b"PK\x03\x04\x00", None, "export a workbook as CSV first"),
    ],
)
def test_bytes_that_are_no_text_are_refused(raw: bytes, encoding: str | None, said: str) -> None:
    with pytest.raises(SheetUnreadable, match=said):
        decoded(raw, encoding=encoding, hint=" or else")


@given(st.text())
def test_any_text_is_cases_or_problems(text: str) -> None:
    for sheet in (text, f"code,number_1\n{text}", f"code,number_1,label_1,metadata.x\nC-1,{text}"):
        try:
            read(sheet)
        except SheetUnreadable as error:
            assert "\n" not in str(error).strip()  # noqa: PT017 - one line that a person can act on


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20),
            st.integers(8_030_000_000, 8_039_999_999),
            st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20),
        ),
        min_size=1,
        unique_by=lambda row: row[0],
    ),
    delimiter=st.sampled_from(",;\t"),
)
def test_what_a_spreadsheet_wrote_is_read_back(rows: list[tuple[str, int, str]], delimiter: str) -> None:
    rows = [row for row in rows if not row[0].startswith("'") and not row[2].startswith("'")]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["code", "number_1", "label_1"])
    writer.writerows([code, f"0{number}", label] for code, number, label in rows)
    if not rows:
        return
    assert [(case.code, case.numbers[0].number, case.numbers[0].label) for case in good(out.getvalue())] == [
        (code, f"0{number}", label.strip()) for code, number, label in rows
    ]


@pytest.mark.parametrize(
    "spelling",
    [
        "08039100001",
        "0803 910 0001",
        "(0803) 910-0001",
        "+234 803 910 0001",
        "+234 (0) 803 910 0001",
        "0803\u00a0910\u20110001",
        "\u202d+2348039100001\u202c",
        "\uff10\uff18\uff10\uff13\uff19\uff11\uff10\uff10\uff10\uff10\uff11",
        "2348039100001",
        "8039100001",
    ],
)
def test_every_spelling_of_a_number_is_one(spelling: str) -> None:
    (case,) = good(f"code,number_1\nC-1,{spelling}\n")
    (number,) = case.numbers
    assert isinstance(number, GivenNumber)
    assert number.known is not None
    assert number.known.key == "+2348039100001"
