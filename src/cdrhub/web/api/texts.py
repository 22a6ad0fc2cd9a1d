"""Texts that the API takes: bounded, free of control characters, storable on every database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from cdrhub.model.update import MAX_TEXT
from cdrhub.redial.given import MAX_METADATA_BYTES, NO_CODES, known_zones
from cdrhub.store.redial_tables import MAX_CODE, MAX_NUMBER
from cdrhub.store.tables import MAX_DETAIL, MAX_SOURCE

MAX_METADATA_DEPTH = 8
EXACT_BELOW = 2.0**63  #: what is read of a whole number that 64 bits do not hold is another one, with its first digits

_WITH_OFFSET = re.compile(r"\d{4}-\d\d-\d\d[^-+]*([zZ]|[-+]\d\d(:?\d\d)?)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _one_line(text: str, *, some: bool = False) -> str:
    text = text.strip()
    if some and not text:
        raise ValueError("must not be empty")
    if _CONTROL.search(text):
        raise ValueError("must have no control characters")
    return text


def _a_code(text: str) -> str:
    text = _one_line(text, some=True)
    if text in NO_CODES:
        raise ValueError("must not be . or ..")
    return text


def _a_zone(name: str) -> str:
    if name and name not in known_zones():
        raise ValueError("is no IANA time zone: write e.g. Africa/Lagos")
    return name


def _a_date(said: Any) -> Any:
    # pydantic reads a number as seconds since 1970, and `2026` would be a quarter of an hour after.
    if not isinstance(said, str) or not _WITH_OFFSET.fullmatch(said):
        raise ValueError("must be ISO 8601 with an offset: write e.g. 2026-03-01T08:00:00Z; in a URL a + is %2B")
    return said


def _storable_moment(moment: datetime) -> datetime:
    # MariaDB's years begin with 1000; an offset can lead out of Python's.
    if not 1970 <= moment.year <= 9000:
        raise ValueError("must be a moment between 1970 and 9000")
    return moment.astimezone(UTC)


def _metadata(given: dict[str, Any]) -> dict[str, Any]:
    if _depth(given) > MAX_METADATA_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH}")
    if not _is_exact(given):
        raise ValueError("holds a number of more than 64 bits: write it as a text")
    try:
        written = orjson.dumps(given)
    except TypeError as error:
        raise ValueError("holds what JSON cannot") from error
    if len(written) > MAX_METADATA_BYTES:
        raise ValueError(f"must not be longer than {MAX_METADATA_BYTES} bytes of JSON")
    if b"\\u0000" in written:  # which PostgreSQL does not store
        raise ValueError("must hold no NUL")
    return given


def _is_exact(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_exact, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or abs(value) < EXACT_BELOW


def _depth(value: Any, above: int = 0) -> int:
    """How many objects and arrays lie around the innermost value; one more than allowed is not gone into."""
    if not isinstance(value, dict | list) or above > MAX_METADATA_DEPTH:
        return above
    inside = value.values() if isinstance(value, dict) else value
    return max((_depth(each, above + 1) for each in inside), default=above + 1)


Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE), AfterValidator(_a_code)]
Label = Annotated[str, Field(max_length=MAX_CODE), AfterValidator(_one_line)]
Word = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_one_line)]
SomeWord = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(partial(_one_line, some=True))]
Name = Annotated[str, Field(max_length=MAX_SOURCE), AfterValidator(_one_line)]
Detail = Annotated[str, Field(max_length=MAX_DETAIL), AfterValidator(_one_line)]
GivenNumberText = Annotated[
    str, Field(min_length=1, max_length=MAX_NUMBER), AfterValidator(partial(_one_line, some=True))
]
Zone = Annotated[str, AfterValidator(_a_zone)]
Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]
Moment = Annotated[AwareDatetime, BeforeValidator(_a_date), AfterValidator(_storable_moment)]
"""ISO 8601 with an offset."""
