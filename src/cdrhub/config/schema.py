"""The JSON Schema (draft 2020-12) of the configuration file, made from the models that check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cdrhub.config.model import FILLED_BY_THE_HUB, SECTIONS
from cdrhub.config.redial import RedialConfig
from cdrhub.config.table import NAME_PATTERN
from cdrhub.redial.diallers import dialler_types
from cdrhub.sources.dialler import DiallerConfig
from cdrhub.sources.registry import systems

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{[^}]+\}",
    "description": "A reference: ${NAME} is an environment variable, ${file:/run/secrets/x} the content of a file.",
}
_SAID_OF_A_KEY = ("title", "description", "default", "examples")  #: of a schema, beside what it demands
_NARROW = {"enum", "pattern", "minLength", "maxLength"}  #: what a text demands and a reference need not meet


def json_schema() -> dict[str, Any]:
    """The schema of the whole file; the table of a source or a dialler is told by its `type`, for all that are
    installed."""
    sources = {name: system.config_model for name, system in systems().items()}
    diallers = {name: kind.config_model for name, kind in dialler_types().items()}
    models: list[type[BaseModel]] = [*SECTIONS.values(), *sources.values(), *diallers.values()]
    references, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/$defs/{model}"
    )
    titles = {model: references[(model, "validation")]["$ref"].rpartition("/")[2] for model in models}
    found: dict[str, Any] = dict(definitions.get("$defs", {}))
    of_sources = _variants(found, titles, sources, prefix="Source", meaning="The phone system.")
    of_diallers = _variants(found, titles, diallers, prefix="Dialler", meaning="What dials.")
    redial = found[titles[RedialConfig]]["properties"]
    redial["diallers"] = {"description": redial["diallers"]["description"], **of_diallers}
    for title in {titles[model] for model in (*sources.values(), *diallers.values())} | {DiallerConfig.__name__}:
        found.pop(title, None)
    found = {name: _or_reference(table) for name, table in found.items()} | {"Reference": _REFERENCE}
    return {
        "$schema": _DIALECT,
        "title": "cdrhub configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: references[(model, "validation")] for name, model in SECTIONS.items()},
            "sources": {
                "description": "One table for each phone system; its name is the calls' column `source`.",
                **of_sources,
            },
        },
        "$defs": found,
    }


def _variants(
    found: dict[str, Any],
    titles: Mapping[type[BaseModel], str],
    models: Mapping[str, type[BaseModel]],
    *,
    prefix: str,
    meaning: str,
) -> dict[str, Any]:
    """The schema of named tables, each of one of these models by its `type`; their definitions are put into `found`."""
    variants = []
    for name, model in models.items():
        table = dict(found[titles[model]])
        properties = {
            key: _without_secret(field) for key, field in table["properties"].items() if key not in FILLED_BY_THE_HUB
        }
        table["properties"] = {**properties, "type": {"const": name, "description": meaning}}
        table["required"] = sorted({*table.get("required", ()), "type"})
        table["title"] = name
        found[f"{prefix}_{name}"] = table
        variants.append({"$ref": f"#/$defs/{prefix}_{name}"})
    return {"type": "object", "patternProperties": {NAME_PATTERN: {"oneOf": variants}}, "additionalProperties": False}


def _or_reference(schema: Any) -> Any:
    """`schema`, in which a reference may stand in the place of every value that is not any text anyway."""
    if isinstance(schema, list):
        return [_or_reference(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind in ("integer", "number", "boolean") or (kind == "string" and not _NARROW.isdisjoint(schema)):
        said = {key: schema[key] for key in _SAID_OF_A_KEY if key in schema}
        demanded = {key: value for key, value in schema.items() if key not in said}
        return {**said, "anyOf": [demanded, {"$ref": "#/$defs/Reference"}]}
    return {key: _or_reference(value) for key, value in schema.items()}


def _without_secret(field: dict[str, Any]) -> dict[str, Any]:
    """A secret's default is shown as asterisks, which is worse than not shown."""
    secret = field.get("format") == "password"
    return {key: value for key, value in field.items() if not (secret and key == "default")}
