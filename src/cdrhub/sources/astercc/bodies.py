"""The body of one pushed event: `key=value&key=value&`, url-encoded or not, or a JSON object, also single-quoted.

asterCC prints blanks, `/`, `@` and `;` as they are and ends the text with `&`
(https://wiki.astercc.org/doku.php?id=en:custom_development_guide:apis:receive_call_events_via_http_post); its agent
channel sends one JSON-like object with single quotes a line. Names may be UTF-8 or GBK.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import unquote_to_bytes

import orjson

from cdrhub.errors import DecodeError, Reason

MAX_BODY_BYTES = 1 << 18  #: of one event; those documented have 400 bytes
MAX_FIELDS = 512

USERDATA = "userdata"  #: the key of what whoever ordered a call handed over, as it came
_FRAMING = b" \t\r\n"  #: around an event, and no part of it
_AN_EVENT = re.compile(rb"(?:^|&)event=")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_NUMBER_WITHOUT_PLUS = re.compile(r" \d+")


class Format(StrEnum):
    """How an event is written; the values are content types. What the sender declares is not asked: it is not
    documented."""

    FORM = "application/x-www-form-urlencoded"
    JSON = "application/json"


def sniff(event: bytes) -> Format:
    """The format of one event."""
    return Format.JSON if event[:1] == b"{" else Format.FORM


def events(body: bytes) -> Sequence[bytes]:
    """The events in a body: the body itself without the white space around it, or each line where every line begins an
    object, as the agent channel writes them, or is a form with an `event`, as a file that somebody posts has them: of a
    repeated key the first counts, so the second event would be lost. Never raises; an empty body holds none."""
    text = body.strip(_FRAMING).removeprefix(BOM_UTF8).strip(_FRAMING)
    if b"\n" in text:
        lines = [line for line in (line.strip(_FRAMING) for line in text.split(b"\n")) if line]
        if all(line[:1] == b"{" for line in lines) or all(_AN_EVENT.search(line) for line in lines):
            return lines
    return [text] if text else []


def read_fields(body: bytes) -> dict[str, str]:
    """The fields of an event; empty values are kept. DecodeError otherwise.

    Pairs end at `&` only, for a channel's name holds `;`. A value that is a blank and digits had a `+` before
    something decoded the form, and gets it back. Of a repeated key the first counts, but behind `userdata`, whose value
    may go on with pairs of its own, the last one, for what the server says follows them.
    """
    if len(body) > MAX_BODY_BYTES:
        raise DecodeError(Reason.TOO_LONG, f"an event of {len(body)} bytes")
    text = body.strip()
    if text[:1] == b"{":
        return _object(text)
    encoded = _ESCAPE.search(text) is not None
    before: dict[str, str] = {}
    behind: dict[str, str] = {}
    for pair in text.split(b"&"):
        raw_key, sign, raw_value = pair.partition(b"=")
        if not sign or len(before) + len(behind) == MAX_FIELDS:
            continue
        key, value = _text(raw_key, encoded=encoded).strip(), _value(raw_value, encoded=encoded)
        if USERDATA in before:
            behind[key] = value
        else:
            before.setdefault(key, value)
    if not before:
        raise DecodeError(Reason.UNPARSABLE, "neither key=value&… nor a JSON object")
    return behind | before


def _value(raw: bytes, *, encoded: bool) -> str:
    if encoded and b"+" in raw and not raw[1:].isdigit():
        raw = raw.replace(b"+", b" ")
    text = _text(raw, encoded=encoded)
    return "+" + text[1:] if _NUMBER_WITHOUT_PLUS.fullmatch(text) else text


def _text(raw: bytes, *, encoded: bool) -> str:
    if encoded and b"%" in raw:
        raw = unquote_to_bytes(raw)
    for charset in ("utf-8", "gbk"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def _object(text: bytes) -> dict[str, str]:
    decoded = _text(text, encoded=False)
    for candidate in (decoded, decoded.replace("'", '"')):
        try:
            value = orjson.loads(candidate)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return {key: _value(_plain(item), encoded=False) for key, item in list(value.items())[:MAX_FIELDS]}
    raise DecodeError(Reason.UNPARSABLE, "begins like a JSON object and is none")


def _plain(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    try:
        return b"" if value is None else orjson.dumps(value)
    except TypeError as error:  # orjson reads deeper than it writes
        raise DecodeError(Reason.UNPARSABLE, "a JSON object that is nested too deeply") from error
