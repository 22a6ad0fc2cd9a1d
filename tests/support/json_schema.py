"""Whether a value meets a JSON Schema, as far as the schema of the configuration goes; an unknown keyword fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}
_SAID = {"$schema", "$defs", "title", "description", "default", "examples", "format", "writeOnly"}


def meets(value: Any, schema: Any, *, root: Mapping[str, Any]) -> bool:
    """Whether `value` meets `schema`, a part of `root`."""
    if isinstance(schema, bool):
        return schema
    return all(_meets(value, keyword, said, schema, root) for keyword, said in schema.items() if keyword not in _SAID)


def _meets(value: Any, keyword: str, said: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    match keyword:
        case "$ref":
            return meets(value, root["$defs"][said.removeprefix("#/$defs/")], root=root)
        case "type":
            return any(_TYPES[name](value) for name in ([said] if isinstance(said, str) else said))
        case "const":
            return bool(value == said)
        case "enum":
            return value in said
        case "anyOf":
            return any(meets(value, each, root=root) for each in said)
        case "oneOf":
            return sum(meets(value, each, root=root) for each in said) == 1
        case "required":
            return not isinstance(value, dict) or value.keys() >= set(said)
        case "properties" | "patternProperties" | "additionalProperties":
            return not isinstance(value, dict) or all(
                meets(item, _of_key(key, schema), root=root) for key, item in value.items()
            )
        case "items":
            return not isinstance(value, list) or all(meets(item, said, root=root) for item in value)
        case "pattern":
            return not isinstance(value, str) or re.search(said, value) is not None
        case "minLength" | "maxLength":
            return not isinstance(value, str) or (len(value) >= said if keyword == "minLength" else len(value) <= said)
        case "minItems" | "maxItems":
            return not isinstance(value, list) or (len(value) >= said if keyword == "minItems" else len(value) <= said)
        case "minimum" | "maximum" | "exclusiveMinimum":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return True
            return bool({"minimum": value >= said, "maximum": value <= said, "exclusiveMinimum": value > said}[keyword])
        case _:
            raise NotImplementedError(keyword)


def _of_key(key: str, schema: Mapping[str, Any]) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    for pattern, said in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return said
    return schema.get("additionalProperties", True)
