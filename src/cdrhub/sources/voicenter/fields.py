"""The fields of one CDR: keys without regard to case, values as they can be used.

Fields may be missing, empty or text where a number is meant (a form makes everything text); none of that is an error.
What cannot be read as what it should be is left among the fields as sent, and flagged `value_dropped`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from cdrhub.model.update import MAX_SECONDS
from cdrhub.sources.voicenter.bodies import nested_json

#: The push's fields, in the vendor's spelling, which the attributes keep however a sender writes it.
PUSH: Final = (
    "caller", "target", "time", "duration", "ivruniqueid", "type", "status", "targetextension", "callerextension",
    "did", "queueid", "queuename", "record", "price", "dialtime", "representative_name", "representative_code",
    "targetextension_name", "callerextension_name", "target_country", "caller_country", "seconds_waiting_in_queue",
    "OriginalIvrUniqueID", "direction", "extenUser", "callerPhone", "isAnswer", "actualCallDuration",
    "actualCallDialtime", "DepartmentID", "DepartmentName", "TopDepartmentID", "TopDepartmentName", "IVR",
    "CustomData", "leg1DialStatusName", "campaignName", "aiData",
)  # fmt: skip

_PUSH_NAMES = {name.casefold(): name for name in PUSH} | {
    "custom_data": "CustomData",
    "ivr_unique_id": "ivruniqueid",
}

#: The Call Log's names of the same things; real replies write them in lower case.
_CALL_LOG_NAMES = _PUSH_NAMES | {
    "callernumber": "caller",
    "targetnumber": "target",
    "date": "date",
    "callid": "ivruniqueid",
    "dialstatus": "status",
    "recordurl": "record",
    "ringtime": "dialtime",
    "representativename": "representative_name",
    "representativecode": "representative_code",
    "cdrtype": "CdrType",
    "customdata": "CustomData",
}

#: Fields that are objects or arrays, and arrive as text that holds them as well.
_STRUCTURED = frozenset({"IVR", "CustomData", "aiData"})

MAX_DIGITS = 32  #: characters of a number
MAX_NAME = 64  #: characters of a key; no known one is as long


def is_call_log_row(cdr: Mapping[str, Any]) -> bool:
    """Whether this is a row of the Call Log's CDR_LIST. A push has `ivruniqueid`; its `CallID` is the dialler's."""
    if "ivruniqueid" in cdr:  # as pushes spell it
        return False
    names = {key.casefold() for key in cdr}
    return "callid" in names and "ivruniqueid" not in names and bool(names & {"dialstatus", "cdrtype"})


def call_key_of(cdr: Mapping[str, Any], *, call_log: bool) -> str:
    """The identity of the call, "" if the CDR has none."""
    for key, value in cdr.items():
        if _name(key, call_log) == "ivruniqueid" and (unique_id := text(value)):
            return unique_id
    return ""


def read(cdr: Mapping[str, Any], *, call_log: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The CDR's known fields by the push's name, and the unknown ones as the vendor spells them; empty ones in
    neither. Of one key in two spellings the first that says something stays."""
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in cdr.items():
        if value is None:
            continue
        if type(value) is str:
            value = value.strip()  # noqa: PLW2901 - the same value, tidied
            if not value:
                continue
        name = _name(key, call_log)
        if name is None:
            unknown.setdefault(key, value)
        elif name in _STRUCTURED:
            nested = nested_json(value) if isinstance(value, str) else value
            if nested not in ({}, []):
                known.setdefault(name, nested)
        else:
            known.setdefault(name, value)
    return known, unknown


def _name(key: str, call_log: bool) -> str | None:
    return _known_name(key, call_log) if len(key) <= MAX_NAME else None


@lru_cache(maxsize=2048)
def _known_name(key: str, call_log: bool) -> str | None:
    return (_CALL_LOG_NAMES if call_log else _PUSH_NAMES).get(key.strip().casefold())


def text(value: Any) -> str:
    """`value` as text: identities and words may come as numbers."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and isfinite(value) and value.is_integer():
        return str(int(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if abs(value) < 1e300 else ""
    return ""


def whole(value: Any, *, limit: int = MAX_SECONDS) -> int | None:
    """`value` as a whole number from 0 to `limit` (`7`, `"7"`, `"7.0"`, `7.0`), else None."""
    if type(value) is int:
        return value if 0 <= value <= limit else None
    if isinstance(value, str):
        if len(value) > MAX_DIGITS or not value.isascii():
            return None
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, float):
        return None
    return int(value) if 0 <= value <= limit else None
