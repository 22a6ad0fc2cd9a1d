"""The bodies of Voicenter's pushes: JSON, XML-RPC or a form, told apart by their first character.

The vendor's Content-Type is undocumented, so it is not asked. Keys keep the vendor's spelling here; they are compared
without regard to case by the decoder. `parse` returns a body or raises DecodeError, nothing else, whatever the bytes.

Formats: https://www.voicenter.com/API/CDR-Notification-System-API, http://xmlrpc.com/spec.md (with the vendor's `i8`).
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson
from lxml import etree

from cdrhub.errors import DecodeError, Reason

MAX_CDRS = 1_000  #: CDRs in one array
MAX_FIELDS = 1_000  #: of one CDR; those seen have some forty
MAX_VALUES = 200_000  #: in one JSON text; of sixteen megabytes of empty lists each would be fifty bytes of memory
MAX_WRAPPINGS = 3  #: JSON inside a JSON string inside …
MAX_XML_DEPTH = 24  #: values inside values; the vendor uses three
LARGEST_EXACT = 2**63  #: beyond it orjson reads an integer as the nearest float
MAX_SILENT = 100  #: names that say nothing, of which each is looked for in the text
LOOKED_INTO = 3  #: objects and arrays inside each other: the rows of a reply of the Call Log, and what is in a row

METHOD = "cdr"

_BLANKS = b" \t\r\n\0"
_REPLACED = "\ufffd"

#: Entities stay unresolved, nothing is loaded, libxml2's own limits on depth, text and expansion stay on.
_parser = partial(
    etree.XMLParser,
    resolve_entities=False,
    load_dtd=False,
    dtd_validation=False,
    attribute_defaults=False,
    no_network=True,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
    recover=False,
)
_PARSER = _parser()
_AS_UTF_8 = _parser(encoding="utf-8")  #: whatever the document says of itself


class Format(StrEnum):
    """How a push is written; the value is the content type under which its records are kept."""

    JSON = "application/json"
    XMLRPC = "text/xml"
    FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A body understood as far as its format goes.

    `items` are what it holds: normally one object, several of an array, each of them an object if all is well.
    `repaired` says that bytes which are not UTF-8 were replaced.
    """

    format: Format
    items: tuple[Any, ...]
    repaired: bool = False


def sniff(body: bytes) -> Format:
    """The format by the first character that is no blank; a byte order mark is passed over."""
    first = _stripped(body, limit=256)[:1]
    if first == b"<":
        return Format.XMLRPC
    if first in (b"{", b"[", b'"'):
        return Format.JSON
    return Format.FORM


def parse(body: bytes) -> Body:
    """What `body` holds. Raises DecodeError: UNPARSABLE, TOO_LONG (too many objects, fields or values) or FORBIDDEN
    (a DOCTYPE)."""
    found = _PARSERS[sniff(body)](_stripped(body))
    if any(isinstance(item, dict) and len(item) > MAX_FIELDS for item in found.items):
        raise DecodeError(Reason.TOO_LONG, f"a CDR of more than {MAX_FIELDS} fields")
    return found


def exact_json(text: bytes | str) -> Any:
    """The value of a JSON text, its integers to the last digit: an identity may come as a number of any length. Raises
    orjson.JSONDecodeError."""
    value = orjson.loads(text)
    if _is_rounded(value, within=LOOKED_INTO):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):  # of more digits, or deeper, than Python reads
            return value
    return value


def _is_rounded(value: Any, *, within: int) -> bool:
    """Whether a number in an object or array is too large for orjson to read exactly. Objects and arrays inside it are
    looked into as well, `within` deep."""
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    for member in value:
        if type(member) is float:
            if abs(member) >= LARGEST_EXACT:
                return True
        elif within and _is_rounded(member, within=within - 1):
            return True
    return False


def nested_json(text: str) -> Any:
    """The object or array that `text` holds as JSON, or `text` itself (IVR, CustomData and aiData come both ways)."""
    if not text.startswith(("{", "[")) or _most_values(text.encode("utf-8", "replace")) > MAX_VALUES:
        return text
    try:
        return exact_json(text)
    except orjson.JSONDecodeError:
        return text


def _stripped(body: bytes, *, limit: int | None = None) -> bytes:
    head = body if limit is None else body[:limit]
    return head.lstrip(_BLANKS).removeprefix(BOM_UTF8).lstrip(_BLANKS)


def _most_values(text: bytes) -> int:
    """An upper bound of the values in a JSON text: each value follows one of these characters, perhaps with a name in
    between."""
    return 1 + sum(map(text.count, (b",", b"[", b"{")))


def _json(text: bytes) -> Body:
    if _most_values(text) > MAX_VALUES:
        raise DecodeError(Reason.TOO_LONG, f"JSON of more than {MAX_VALUES} values")
    value, repaired = _json_value(text)
    for _ in range(MAX_WRAPPINGS):
        if not isinstance(value, str):
            break
        value, _ = _json_value(value.encode("utf-8", "replace"))
    items = tuple(value) if isinstance(value, list) else (value,)
    if len(items) > MAX_CDRS:
        raise DecodeError(Reason.TOO_LONG, f"an array of {len(items)} CDRs; at most {MAX_CDRS} are read")
    if not any(isinstance(item, dict) for item in items):
        raise DecodeError(Reason.UNPARSABLE, "JSON, but no object")
    return Body(format=Format.JSON, items=items, repaired=repaired)


def _json_value(text: bytes) -> tuple[Any, bool]:
    """The value of a JSON text and whether it had to be repaired.

    orjson keeps to RFC 8259. What other writers produce (a lone surrogate of a cut emoji, NaN, bytes of an old code
    page) is read by the standard library, for the call matters more than the standard.
    """
    try:
        value = exact_json(text)
        return (_joined_json(text, value) if _may_hide(value, text) else value), False
    except orjson.JSONDecodeError as strict:
        try:
            readable = text.decode("utf-8", "replace")
            return json.loads(readable, strict=False), _REPLACED in readable
        except (ValueError, RecursionError):
            raise DecodeError(Reason.UNPARSABLE, f"not JSON: {strict}") from strict


def _may_hide(value: Any, text: bytes) -> bool:
    """Whether a name that says nothing in one of the objects of `value` may stand in `text` once more."""
    if text.count(b'":') == _names(value, within=LOOKED_INTO) and b'" :' not in text:
        return False  # as many names were written as were read
    objects = [item for item in (value if type(value) is list else (value,)) if type(item) is dict]
    silent = {name for item in objects for name, value in item.items() if _says_nothing(value)}
    return len(silent) > MAX_SILENT or any(
        text.count(f'"{name}"'.encode("utf-8", "replace")) > sum(name in item for item in objects) for name in silent
    )


def _names(value: Any, *, within: int) -> int:
    """How many names there are in an object or array, and in those inside it, `within` deep; none in anything else."""
    count = 0
    if type(value) is dict:
        count, value = len(value), value.values()
    elif type(value) is not list:
        return 0
    for member in value if within else ():
        if type(member) is dict or type(member) is list:
            count += _names(member, within=within - 1)
    return count


def _joined_json(text: bytes, value: Any) -> Any:
    """The value of a JSON text, of which orjson has read `value`, where a name may be there twice."""
    try:
        return json.loads(text, object_pairs_hook=_joined)
    except (ValueError, RecursionError):  # what only orjson reads
        return value


def _joined(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of one object: of a name that is there twice, as in the vendor's own sample, the last that says
    something."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields or not _says_nothing(value):
            fields[name] = value
    return fields


def _says_nothing(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _form(text: bytes) -> Body:
    if b"=" not in text:
        raise DecodeError(Reason.UNPARSABLE, "neither XML nor JSON nor a form")
    readable = text.decode("utf-8", "replace").rstrip("\r\n\0 ")
    try:
        pairs = parse_qsl(readable, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise DecodeError(Reason.UNPARSABLE, f"not a form: {error}") from error
    return Body(
        format=Format.FORM,
        items=(_joined(pairs),),
        repaired=any(_REPLACED in key or _REPLACED in v for key, v in pairs),
    )


def _xmlrpc(text: bytes) -> Body:
    if text[:9].upper() == b"<!DOCTYPE":
        raise DecodeError(Reason.FORBIDDEN, "a document type (DOCTYPE) is refused")
    try:
        root, repaired = _root(text.rstrip(_BLANKS))
    except (etree.XMLSyntaxError, ValueError) as error:
        if b"<!DOCTYPE" in text[:1024].upper():
            raise DecodeError(Reason.FORBIDDEN, "a document type (DOCTYPE) is refused") from error
        raise DecodeError(Reason.UNPARSABLE, f"not XML: {error}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise DecodeError(Reason.FORBIDDEN, "a document type (DOCTYPE) is refused")
    if _name(root) != "methodcall":
        raise DecodeError(Reason.UNPARSABLE, f"<{_name(root)[:64]}> is no XML-RPC methodCall")
    method = _child(root, "methodname")
    if method is None or (method.text or "").strip().casefold() != METHOD:
        raise DecodeError(Reason.UNPARSABLE, f"the XML-RPC method {_text_of(method)[:64]!r} is not CDR")
    element: etree._Element | None = root
    for name in ("params", "param", "value", "struct"):
        element = None if element is None else _child(element, name)
    if element is None:
        raise DecodeError(Reason.UNPARSABLE, "XML-RPC without a struct")
    return Body(format=Format.XMLRPC, items=(_struct(element, depth=0),), repaired=repaired)


def _root(text: bytes) -> tuple[etree._Element, bool]:
    """The root of a document, and whether it could be read only by replacing bytes that are not UTF-8: those of an old
    code page of which the document says nothing. Raises etree.XMLSyntaxError."""
    try:
        return etree.fromstring(text, _PARSER), False
    except etree.XMLSyntaxError:
        readable = text.decode("utf-8", "replace")
        if _REPLACED not in readable:
            raise
        return etree.fromstring(readable.encode(), _AS_UTF_8), True


def _name(element: etree._Element) -> str:
    """Its local name in lower case; extension types come with a namespace (`ex:i8`)."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _child(element: etree._Element, name: str) -> etree._Element | None:
    return next((child for child in element if _name(child) == name), None)


def _text_of(element: etree._Element | None) -> str:
    return "" if element is None else (element.text or "")


def _struct(element: etree._Element, *, depth: int) -> dict[str, Any]:
    pairs: list[tuple[str, Any]] = []
    for member in element:
        name = _text_of(_child(member, "name")).strip()
        value = _child(member, "value")
        if name:
            pairs.append((name, "" if value is None else _value(value, depth=depth)))
    return _joined(pairs)


def _value(element: etree._Element, *, depth: int) -> Any:
    """The value of a `<value>`. A number that is none stays text: the decoder knows what can be done without."""
    if depth > MAX_XML_DEPTH:
        raise DecodeError(Reason.UNPARSABLE, f"XML-RPC values nested deeper than {MAX_XML_DEPTH}")
    typed = next((child for child in element if _name(child)), None)
    if typed is None:
        return _text_of(element)
    text = _text_of(typed).strip()
    match _name(typed):
        case "i4" | "i8" | "int":
            return int(text) if _is_integer(text) else text
        case "boolean":
            return text.casefold() in ("1", "true")
        case "nil":
            return None
        case "struct":
            return _struct(typed, depth=depth + 1)
        case "array":
            items = _child(typed, "data")
            return [] if items is None else [_value(v, depth=depth + 1) for v in items if _name(v) == "value"]
        case _:
            return text


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= 19


_PARSERS = {Format.XMLRPC: _xmlrpc, Format.JSON: _json, Format.FORM: _form}
