"""Numbers that must not be called, from a spreadsheet or a plain list: CSV text into entries, or every problem. Pure.

Columns are `number` (or `phone`), `until` and `source`, who says so; without a header the first column holds the
numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cdrhub.errors import CdrhubError
from cdrhub.model.update import MAX_TEXT
from cdrhub.redial.given import GivenDoNotCall, GivenNumber, read_numbers
from cdrhub.redial.number_cells import Reading, number_in
from cdrhub.redial.order_errors import NumberUnusable
from cdrhub.sheet import Row, Sheet, SheetRead, SheetUnreadable, begun, plain, shown

_COLUMNS = {
    "number": "number",
    "phone": "number",
    "phone_num": "number",
    "phone_num_1": "number",
    "until": "until",
    "source": "source",
}


def read_do_not_call(
    text: str,
    *,
    source: str,
    reading: Reading,
    said_by: str,
    until: datetime | None,
    read_until: Callable[[str], datetime],
    advance: Callable[[int], None] = lambda _line: None,
) -> SheetRead[GivenDoNotCall]:
    """The numbers of a sheet, read as `source` reads them. `said_by` and `until` are of rows that do not say it;
    `read_until` reads a cell and raises CdrhubError. Raises SheetUnreadable."""
    first, found, problems = begun(text)
    headless = _is_number(first, reading)
    sheet = Sheet(header=Row(line=first.line, cells=["number"]) if headless else first, problems=problems)
    columns = {"number": 0} if headless else _columns(sheet)
    if problems:
        return SheetRead(given=(), problems=problems, unsure=())
    entries = []
    for row in (first, *found) if headless else found:
        advance(row.line)
        values = sheet.values(row)
        if values is None:
            continue
        if not values[columns["number"]]:
            sheet.wrong(row.line, columns["number"], "there is no number")
        number = number_in(sheet, row, columns["number"], values[columns["number"]], reading)
        its_until, who = until, said_by
        if "until" in columns and (cell := values[columns["until"]]):
            try:
                its_until = read_until(cell)
            except CdrhubError as error:
                sheet.wrong(row.line, columns["until"], str(error))
        if "source" in columns and (cell := values[columns["source"]]):
            who = sheet.text(row, columns["source"], cell, at_most=MAX_TEXT)
        if number is not None:
            entries.append(
                GivenDoNotCall(
                    number=number.number, tenant=reading.tenant, region_of=source, source=who, until=its_until
                )
            )
        if sheet.given_up:
            break
    if not entries and not problems:
        raise SheetUnreadable("the sheet has a header and no rows")
    unused = [
        cell.strip() for place, cell in enumerate(sheet.header.cells) if place not in columns.values() and cell.strip()
    ]
    return SheetRead(given=entries, problems=problems, unsure=sheet.unsure, unused=unused)


def _is_number(row: Row, reading: Reading) -> bool:
    try:
        return bool(read_numbers([GivenNumber(number=plain(row.cells[0]))], reading.plan))
    except NumberUnusable:
        return False


def _columns(sheet: Sheet) -> dict[str, int]:
    columns: dict[str, int] = {}
    for place, cell in enumerate(sheet.header.cells):
        name = _COLUMNS.get(plain(cell).lower())
        if name is None:
            continue
        if name in columns:
            sheet.wrong(sheet.header.line, place, f"means the same as the column {sheet.column(columns[name])}")
        columns.setdefault(name, place)
    if "number" not in columns:
        there = ", ".join(shown(cell.strip()) for cell in sheet.header.cells[:20])
        sheet.wrong(sheet.header.line, None, f"there is no column number: there are {there}")
    return columns
