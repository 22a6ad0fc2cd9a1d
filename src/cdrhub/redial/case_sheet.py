"""Cases from a spreadsheet: CSV text into cases, or every problem by its place. Pure.

Columns are `code`, `source`, `agent`, `campaign`, `timezone`, `number_1` …, `label_1` … and `metadata.<name>`, in any
order and without regard to case; `CASE_CODE_STR` and `PHONE_NUM_1` … mean `code` and `number_1` …. Other columns are
left alone and named, but one that is nearly one of these is a problem: it may be a slip of the pen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import orjson

from cdrhub.model.update import MAX_TEXT
from cdrhub.redial.given import MAX_METADATA_BYTES, MAX_NUMBERS, NO_CODES, GivenCase, GivenNumber, known_zones
from cdrhub.redial.number_cells import Reading, number_in
from cdrhub.sheet import (
    MAX_CELL,
    MAX_COLUMNS,
    Row,
    Sheet,
    SheetRead,
    SheetUnreadable,
    begun,
    plain,
    shown,
)
from cdrhub.store.redial_tables import MAX_CODE

WORDS = ("code", "source", "agent", "campaign", "timezone")
METADATA = "metadata."
_SYNONYMS = {"case_code_str": "code", "case_code": "code", "number": "number_1", "time_zone": "timezone"}
_COUNTED = re.compile(r"(?P<word>number|label|phone_num)_?(?P<count>[1-9]\d{0,2})")
_USUAL = (*WORDS, *(f"{word}_{count}" for count in range(1, 7) for word in ("number", "label", "phone_num")))

NO_SOURCE = "there is no source: add a column source, or name one for the whole sheet with --source"


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What a row means that says nothing of it."""

    source: str = ""
    agent: str = ""
    campaign: str = ""
    timezone: str = ""


def read_cases(
    text: str,
    *,
    sources: Mapping[str, Reading],
    defaults: Defaults,
    advance: Callable[[int], None] = lambda _line: None,
) -> SheetRead[GivenCase]:
    """The cases of a sheet. `advance` is told the line that is read. Raises SheetUnreadable."""
    header, found, problems = begun(text)
    sheet = Sheet(header=header, problems=problems)
    columns, unused = _columns(sheet)
    if "source" not in columns and not defaults.source:
        sheet.wrong(1, None, NO_SOURCE)
    if problems:
        return SheetRead(given=(), problems=problems, unsure=(), unused=unused)
    cases = list(_cases(found, sheet, columns, sources=sources, defaults=defaults, advance=advance))
    if not cases and not problems:
        raise SheetUnreadable("the sheet has a header and no rows")
    return SheetRead(given=cases, problems=problems, unsure=sheet.unsure, unused=unused)


def _cases(
    found: Iterator[Row],
    sheet: Sheet,
    columns: Mapping[str, int],
    *,
    sources: Mapping[str, Reading],
    defaults: Defaults,
    advance: Callable[[int], None],
) -> Iterator[GivenCase]:
    seen: dict[tuple[str, str], int] = {}
    for row in found:
        advance(row.line)
        values = sheet.values(row)
        if values is not None:
            given = {name: values[place] for name, place in columns.items()}
            case = _case(row, given, sheet, columns, sources=sources, defaults=defaults)
            before = seen.setdefault((case.tenant, case.code), row.line) if case is not None else row.line
            if before != row.line:
                said = f"the same code stands in line {before}: one row for each case"
                sheet.wrong(row.line, columns["code"], said)
            elif case is not None:
                yield case
        if sheet.given_up:
            return


def _case(
    row: Row,
    given: Mapping[str, str],
    sheet: Sheet,
    columns: Mapping[str, int],
    *,
    sources: Mapping[str, Reading],
    defaults: Defaults,
) -> GivenCase | None:
    """The case of a row; None, with a problem, where it has no code or no source."""
    code = sheet.text(row, columns["code"], given["code"], at_most=MAX_CODE)
    if not given["code"]:
        sheet.wrong(row.line, columns["code"], "there is no code")
    elif code in NO_CODES:
        sheet.wrong(row.line, columns["code"], "must not be . or ..")
    else:
        sheet.is_cut_short(row, columns["code"], code)
    reading, source = _source(row, given, sheet, columns, sources=sources, default=defaults.source)
    words = {"agent": defaults.agent, "campaign": defaults.campaign, "timezone": defaults.timezone}
    for word in words:
        if given.get(word):
            words[word] = sheet.text(row, columns[word], given[word], at_most=MAX_TEXT)
    if words["timezone"] and words["timezone"] not in known_zones():
        sheet.wrong(
            row.line, columns.get("timezone"), f"{shown(words['timezone'])!r} is no IANA zone, e.g. Africa/Lagos"
        )
    if reading is None:
        return None
    numbers = list(_numbers(row, given, sheet, columns, reading=reading))
    if not code:
        return None
    metadata = {
        name.removeprefix(METADATA): sheet.text(row, columns[name], value, at_most=MAX_CELL, lines=True)
        for name, value in given.items()
        if name.startswith(METADATA) and value
    }
    if (size := len(orjson.dumps(metadata))) > MAX_METADATA_BYTES:
        sheet.wrong(row.line, None, f"its metadata are {size} bytes as JSON: {MAX_METADATA_BYTES} at most")
    return GivenCase(
        code=code,
        source=source,
        numbers=numbers,
        tenant=reading.tenant,
        metadata=metadata,
        **words,
    )


def _source(
    row: Row,
    given: Mapping[str, str],
    sheet: Sheet,
    columns: Mapping[str, int],
    *,
    sources: Mapping[str, Reading],
    default: str,
) -> tuple[Reading | None, str]:
    source, place = given.get("source") or default, columns.get("source")
    reading = sources.get(source)
    if not source:
        sheet.wrong(row.line, place, NO_SOURCE)
    elif reading is None:
        near = get_close_matches(source, sources, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sources)}"
        sheet.wrong(row.line, place, f"there is no source {shown(source)!r} in the configuration: {hint}")
    elif reading.into:
        sheet.wrong(row.line, place, f"the calls of {source} belong to {reading.into}: write {reading.into}")
        return None, source
    return reading, source


def _numbers(
    row: Row, given: Mapping[str, str], sheet: Sheet, columns: Mapping[str, int], *, reading: Reading
) -> Iterator[GivenNumber]:
    counts = sorted(int(name.removeprefix("number_")) for name in columns if name.startswith("number_"))
    if not any(given[f"number_{count}"] for count in counts):
        sheet.wrong(row.line, columns[f"number_{counts[0]}"], "the case has no number")
    for count in counts:
        place = columns[f"number_{count}"]
        number = number_in(sheet, row, place, given[f"number_{count}"], reading)
        label = given.get(f"label_{count}", "")
        if label:
            label = sheet.text(row, columns[f"label_{count}"], label, at_most=MAX_CODE)
        if number is not None:
            yield GivenNumber(number=number.number, label=label, known=number)


def _columns(sheet: Sheet) -> tuple[dict[str, int], list[str]]:
    """Where each column that means something stands, and the headers of the others."""
    header = sheet.header
    columns: dict[str, int] = {}
    unused = []
    if len(header.cells) > MAX_COLUMNS:
        sheet.wrong(header.line, None, f"{len(header.cells)} columns: {MAX_COLUMNS} at most")
        return {}, []
    for place, cell in enumerate(header.cells):
        name = _canonical(cell)
        if name not in WORDS and not name.startswith(METADATA) and not _COUNTED.fullmatch(name):
            if near := get_close_matches(name, _USUAL, n=1, cutoff=0.8):
                sheet.wrong(header.line, place, f"there is no such column: did you mean {near[0]}?")
            elif name:
                unused.append(cell.strip())
        elif name in columns:
            sheet.wrong(header.line, place, f"means the same as the column {sheet.column(columns[name])}")
        else:
            columns[name] = place
    _check(sheet, columns)
    return columns, unused


def _check(sheet: Sheet, columns: Mapping[str, int]) -> None:
    line = sheet.header.line
    there = ", ".join(shown(cell.strip()) for cell in sheet.header.cells[:20])
    if "code" not in columns:
        sheet.wrong(line, None, f"there is no column code (or CASE_CODE_STR): there are {there}")
    if not any(name.startswith("number_") for name in columns):
        sheet.wrong(line, None, f"there is no column number_1 (or PHONE_NUM_1): there are {there}")
    for name, place in columns.items():
        counted = _COUNTED.fullmatch(name)
        if counted is None:
            continue
        if int(counted["count"]) > MAX_NUMBERS:
            sheet.wrong(line, place, f"a case has {MAX_NUMBERS} numbers at most")
        if counted["word"] == "label" and f"number_{counted['count']}" not in columns:
            sheet.wrong(line, place, f"there is no column number_{counted['count']} that it could be of")


def _canonical(header: str) -> str:
    given = plain(header)
    name = re.sub(r"[\s-]+", "_", given.lower())
    name = _SYNONYMS.get(name, name)
    if name.startswith(METADATA) and len(name) > len(METADATA):
        return METADATA + given[len(METADATA) :].strip()
    counted = _COUNTED.fullmatch(name)
    return f"{counted['word'].replace('phone_num', 'number')}_{counted['count']}" if counted is not None else name
