"""A message that is one JSON object."""

from __future__ import annotations

from typing import Any

import orjson

from cdrhub.errors import DecodeError, Reason


def read_object(body: bytes) -> tuple[dict[str, Any], bool]:
    """The JSON object that `body` is, and whether bytes that are not UTF-8 were replaced in it. Anything else is a
    DecodeError."""
    repaired = False
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        repaired = True
        try:
            value = orjson.loads(body.decode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            raise DecodeError(Reason.UNPARSABLE, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DecodeError(Reason.UNPARSABLE, "JSON, but not an object")
    return value, repaired
