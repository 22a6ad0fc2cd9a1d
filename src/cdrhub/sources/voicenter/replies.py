"""What the sender is told: the vendor's error code in the format of the request.

0 OK, 1 parse error, 2 application error (https://www.voicenter.com/API/CDR-Notification-System-API). The vendor's page
prints `methodresponse` once; XML-RPC calls it `methodResponse`.
"""

from __future__ import annotations

from enum import IntEnum

from cdrhub.sources.voicenter.bodies import Format


class Code(IntEnum):
    """The vendor's `err`."""

    OK = 0
    PARSE_ERROR = 1  #: the body cannot be understood; it is kept, and a re-send cannot help
    APPLICATION_ERROR = 2  #: the record could not be kept; a re-send helps


_DESCRIPTIONS = {
    Code.OK: "OK",
    Code.PARSE_ERROR: "The record cannot be understood",
    Code.APPLICATION_ERROR: "The record could not be stored, please send it again",
}

_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<methodResponse><params><param><value><struct>"
    "<member><name>err</name><value><int>{code}</int></value></member>"
    "<member><name>errdesc</name><value><string>{text}</string></value></member>"
    "</struct></value></param></params></methodResponse>"
)
_JSON = '{{"err":{code},"errdesc":"{text}"}}'

JSON_TYPE = "application/json"
XML_TYPE = "text/xml; charset=utf-8"


def _render(template: str) -> dict[Code, bytes]:
    return {code: template.format(code=int(code), text=text).encode() for code, text in _DESCRIPTIONS.items()}


_REPLIES = {Format.XMLRPC: (_render(_XML), XML_TYPE), Format.JSON: (_render(_JSON), JSON_TYPE)}


def reply(code: Code, *, to: Format) -> tuple[bytes, str]:
    """Body and Content-Type of the answer to a request written in `to`; a form is answered in JSON."""
    bodies, media_type = _REPLIES[Format.XMLRPC if to is Format.XMLRPC else Format.JSON]
    return bodies[code], media_type
