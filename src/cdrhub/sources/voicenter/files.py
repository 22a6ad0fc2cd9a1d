"""CDRs in a file: exports of the Call Log, and pushes that somebody kept.

A file is a reply of the Call Log API (`{"ERROR_NUMBER": 0, …, "CDR_LIST": […]}`), an array of CDRs, one CDR, or any of
these one to a line. A CDR becomes a message of its own: the bytes of its line or file where they hold nothing else,
else the JSON of the element with sorted keys.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import Any, Final

import orjson

from cdrhub.sources.voicenter.bodies import exact_json

CDR_LIST: Final = "cdr_list"


def split(data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
    """Messages in the bytes of a file, and the rest that is not complete; `final` at the end of the file.

    Lines are taken as they come if the first one is whole JSON; otherwise the file is one document, which only its end
    completes. Nothing is dropped: what cannot be read is a message too, for suspense.
    """
    first, newline, _ = data.lstrip().partition(b"\n")
    by_lines = bool(newline) and _value(first) is not None
    if not final:
        if not by_lines:
            return [], data
        whole, _, rest = data.rpartition(b"\n")
        return _messages_of_lines(whole), rest
    if not data.strip():
        return [], b""
    if by_lines or not data.lstrip(BOM_UTF8 + b" \t\r\n").startswith((b"{", b"[", b'"', b"<")):
        return _messages_of_lines(data), b""
    return _messages(data.strip()), b""


def element_bytes(element: Any) -> bytes:
    """The JSON of one CDR that was an element of something larger: sorted keys, ASCII. ValueError or RecursionError
    for what JSON cannot hold."""
    return json.dumps(element, sort_keys=True, separators=(",", ":")).encode()


def _messages_of_lines(data: bytes) -> list[bytes]:
    lines = (line.strip() for line in data.split(b"\n"))
    return [message for line in lines if line for message in _messages(line)]


def _messages(text: bytes) -> list[bytes]:
    value = _value(text)
    elements: Any = value
    if isinstance(value, dict):
        elements = next((said for key, said in value.items() if key.casefold() == CDR_LIST), None)
    if not isinstance(elements, list):
        return [text]
    try:
        return [element_bytes(element) for element in elements]
    except (ValueError, RecursionError):  # orjson reads a little deeper than Python writes
        return [text]


def _value(text: bytes) -> dict[str, Any] | list[Any] | None:
    try:
        value = exact_json(text.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, (dict, list)) else None
