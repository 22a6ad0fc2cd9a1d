"""The three formats in which a simulated Voicenter account pushes a CDR."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import orjson

from cdrhub.sources.voicenter.bodies import Format


def render(cdr: Mapping[str, Any], written: Format) -> bytes:
    """The body of a push of `cdr` in one of the vendor's formats."""
    match written:
        case Format.JSON:
            return orjson.dumps(cdr)
        case Format.FORM:
            return urlencode({key: _flat(value) for key, value in cdr.items()}).encode()
        case Format.XMLRPC:
            members = "".join(
                f"<member><name>{key}</name><value>{_xml_value(value)}</value></member>" for key, value in cdr.items()
            )
            return (
                '<?xml version="1.0"?>\n<methodCall><methodName>CDR</methodName><params><param><value>'
                f"<struct>{members}</struct></value></param></params></methodCall>"
            ).encode()


def _flat(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _xml_value(value: Any) -> str:
    if isinstance(value, int):
        return f"<{'i8' if value >= 2**31 else 'i4'}>{value}</{'i8' if value >= 2**31 else 'i4'}>"
    text = _flat(value)
    return f"<string>{escape(text)}</string>" if text else "<string />"
