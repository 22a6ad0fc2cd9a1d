"""CDR documents of mod_json_cdr and mod_xml_cdr: one JSON object or one `<cdr>` per channel, written at its end.

Both say the same in two spellings. XML is read without document type, entities or network; a document type is
refused. https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_json_cdr_6587399/

mod_xml_cdr writes the name of each variable as a tag, whatever it is: `nolocal:operator`, `1`, `set api_hangup_hook`
and `^^,default_language` are met in the field, and none of them is XML. A switch that decodes what it encoded writes
values such as `<sip:1001@192.0.2.1>` besides. Each variable begins a line, so these documents can be read by lines.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import unescape

from lxml import etree

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.digits import whole
from cdrhub.sources.freeswitch.channel import DocumentChannel

MAX_DOCUMENT_BYTES = 4 << 20  #: of one CDR document; those recorded have 30 KB
MAX_PROFILES = 256  #: caller profiles of one callflow; one per transfer
MAX_VALUE_LINES = 256  #: of one variable; an SDP has some thirty

OPENING = (b"{", b"<")  #: how a document begins

_DECLARATION = re.compile(rb"<\?xml[^>]{0,200}\?>\s*")
_CALLFLOW = b'"callflow"'
_NOT_IN_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  #: a caller's name has it, and the switch leaves it there
_VARIABLE_BEGINS = re.compile(rb"\s*<([^<>/][^<>]*)>(.*)", re.DOTALL)


def unwrap(body: bytes) -> bytes:
    """The document in a posted body, as it would stand in a file; the body itself where there is none.

    What counts is the body, not its Content-Type, which `disable-100-continue` takes away. Bodies are the document
    itself (`encode` false of mod_json_cdr, `textxml` of mod_xml_cdr), or `cdr=` and the document as it is (`false` of
    mod_xml_cdr), url-encoded (`true`) or in base64 (`base64`).
    """
    text = body.strip()
    if not text.startswith(OPENING):
        name, _, value = text.partition(b"=")
        found = unencoded(value.strip()).strip() if name == b"cdr" else b""
        if not found.startswith(OPENING):
            return body
        text = found
    return text[declaration.end() :] if (declaration := _DECLARATION.match(text)) else text


def unencoded(value: bytes) -> bytes:
    """A document without its encoding, url or base64; empty where it is in neither."""
    if value.startswith(OPENING):
        return value
    if b"%" in value:
        return unquote_to_bytes(value.replace(b"+", b" "))
    try:
        return b64decode(b"".join(value.split()), validate=True)
    except binascii.Error:
        return b""


def of_json(document: Mapping[str, Any], body: bytes) -> DocumentChannel:
    """The channel of a mod_json_cdr document, which is `body` read; DecodeError if it has no variables."""
    variables = document.get("variables")
    if not isinstance(variables, Mapping):
        raise DecodeError(Reason.UNPARSABLE, "JSON without the object `variables`: no document of mod_json_cdr")
    flows = _repeated_flows(body) if body.count(_CALLFLOW) > 1 else document.get("callflow")
    listed = flows if isinstance(flows, list) else [flows]
    return DocumentChannel(variables, _profiles([flow for flow in listed if isinstance(flow, Mapping)]))


def of_xml(body: bytes) -> DocumentChannel:
    """The channel of a mod_xml_cdr document; DecodeError if it is not one or has a document type."""
    found: dict[str, str] = {}
    try:
        root = _root(body)
    except DecodeError:
        readable = _NOT_IN_XML.sub(b"", body.decode("utf-8", "replace").encode())
        root = _root(_taken_by_lines(readable, found) or readable)
    if root.getroottree().docinfo.internalDTD is not None:
        raise DecodeError(Reason.FORBIDDEN, "an XML document type is not accepted")
    variables = root.find("variables")
    if root.tag != "cdr" or variables is None:
        raise DecodeError(Reason.UNPARSABLE, "XML without <cdr><variables>: no document of mod_xml_cdr")
    flows = [
        {"profile_index": flow.get("profile_index"), "caller_profile": _members(flow.find("caller_profile"))}
        for flow in root.findall("callflow")
    ]
    for variable in variables:
        if isinstance(variable.tag, str) and variable.text:
            found.setdefault(variable.tag, variable.text)
    return DocumentChannel(found, _profiles(flows))


def _repeated_flows(body: bytes) -> Any:
    """Every `callflow`: older switches write the key anew for each of them, and JSON keeps the last."""

    def joined(members: list[tuple[str, Any]]) -> dict[str, Any]:
        flows = [value for name, value in members if name == "callflow"]
        return dict(members) | ({"callflow": flows} if len(flows) > 1 else {})

    try:
        return json.loads(body.decode("utf-8", "replace"), object_pairs_hook=joined).get("callflow")
    except RecursionError as error:
        raise DecodeError(Reason.UNPARSABLE, "JSON that is nested too deeply") from error


def _root(body: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=False, huge_tree=False)
    try:
        return etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DecodeError(Reason.UNPARSABLE, f"not XML: {error}") from error


def _taken_by_lines(body: bytes, found: dict[str, str]) -> bytes | None:
    """Read the variables line by line into `found`; of a repeated name the first counts. Returns the document without
    them, or None where they do not begin and end on lines of their own."""
    lines = body.split(b"\n")
    marks = [line.strip() for line in lines]
    try:
        at = marks.index(b"<variables>") + 1
        end = marks.index(b"</variables>", at)
    except ValueError:
        return None
    rest = b"\n".join([*lines[:at], *lines[end:]])
    closed: dict[bytes, list[int]] = {}  #: the lines that end with each closing tag
    for number in range(at, end):
        line = lines[number].rstrip()
        closed.setdefault(line[line.rfind(b"<") :], []).append(number)
    while at < end:
        begun, at = at, at + 1
        opening = _VARIABLE_BEGINS.fullmatch(lines[begun])
        if opening is None:
            continue
        closing = b"</%b>" % opening[1]
        ends = closed.get(closing, [])
        place = bisect_left(ends, begun)
        if place < len(ends) and ends[place] - begun <= MAX_VALUE_LINES:
            at = ends[place] + 1
            text = b"\n".join([opening[2], *lines[begun + 1 : at]]).rstrip().removesuffix(closing)
            if text:
                name = opening[1].decode("utf-8", "replace")
                found.setdefault(name, unescape(text.decode("utf-8", "replace")))
    return rest


def _profiles(flows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Caller profiles in the order of the call; documents list the newest first."""

    def place(flow: Mapping[str, Any]) -> int:
        index = flow.get("profile_index")
        return (whole(index, digits=5) if isinstance(index, str) else None) or 0

    ordered = sorted(flows[:MAX_PROFILES], key=place)
    found = [flow.get("caller_profile") for flow in ordered]
    return [profile for profile in found if isinstance(profile, Mapping)]


def _members(element: etree._Element | None) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for child in element if element is not None else ():
        if not isinstance(child.tag, str):
            continue
        if child.tag in ("originator", "originatee"):
            members[child.tag] = {
                f"{child.tag}_caller_profiles": [
                    {other.tag: other.text for other in profile if isinstance(other.tag, str)} for profile in child
                ]
            }
        elif child.text:
            members[child.tag] = child.text
    return members
