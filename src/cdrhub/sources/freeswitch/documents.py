"""CDR documents of mod_json_cdr and mod_xml_cdr: one JSON object or one `<cdr>` per channel, written at its end.

Both say the same in two spellings. XML is read without document type, entities or network; a document type is
refused. https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_json_cdr_6587399/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.freeswitch.channel import DocumentChannel

MAX_DOCUMENT_BYTES = 4 << 20  #: of one CDR document; those recorded have 30 KB
MAX_PROFILES = 256  #: caller profiles of one callflow; one per transfer


def of_json(document: Mapping[str, Any]) -> DocumentChannel:
    """The channel of a mod_json_cdr document; DecodeError if it has no variables."""
    variables = document.get("variables")
    if not isinstance(variables, Mapping):
        raise DecodeError(Reason.UNPARSABLE, "JSON without the object `variables`: no document of mod_json_cdr")
    flows = document.get("callflow")
    listed = flows if isinstance(flows, list) else [flows]
    return DocumentChannel(variables, _profiles([flow for flow in listed if isinstance(flow, Mapping)]))


def of_xml(body: bytes) -> DocumentChannel:
    """The channel of a mod_xml_cdr document; DecodeError if it is not one or has a document type."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DecodeError(Reason.UNPARSABLE, f"not XML: {error}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise DecodeError(Reason.FORBIDDEN, "an XML document type is not accepted")
    variables = root.find("variables")
    if root.tag != "cdr" or variables is None:
        raise DecodeError(Reason.UNPARSABLE, "XML without <cdr><variables>: no document of mod_xml_cdr")
    flows = [
        {"profile_index": flow.get("profile_index"), "caller_profile": _members(flow.find("caller_profile"))}
        for flow in root.findall("callflow")
    ]
    found: dict[str, str] = {}
    for variable in variables:
        if isinstance(variable.tag, str) and variable.text:
            found.setdefault(variable.tag, variable.text)
    return DocumentChannel(found, _profiles(flows))


def _profiles(flows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Caller profiles in the order of the call; documents list the newest first."""

    def place(flow: Mapping[str, Any]) -> int:
        index = flow.get("profile_index")
        return int(index) if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 6 else 0

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
