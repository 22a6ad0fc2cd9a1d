"""The JSON Schema (draft 2020-12) of the configuration file, made from the models that check it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cdrhub.config.model import FILLED_BY_THE_HUB, NAME_PATTERN, DatabaseConfig, HttpConfig, HubConfig, RetentionConfig
from cdrhub.sources.registry import systems

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECTIONS: dict[str, type[BaseModel]] = {
    "hub": HubConfig,
    "database": DatabaseConfig,
    "http": HttpConfig,
    "retention": RetentionConfig,
}


def json_schema() -> dict[str, Any]:
    """The schema of the whole file; a source's table is told by its `type`, for every installed system."""
    models = {name: system.config_model for name, system in systems().items()}
    references, definitions = models_json_schema(
        [(model, "validation") for model in (*_SECTIONS.values(), *models.values())], ref_template="#/$defs/{model}"
    )
    found: dict[str, Any] = dict(definitions.get("$defs", {}))
    variants = []
    own = {references[(model, "validation")]["$ref"].rpartition("/")[2] for model in models.values()}
    for name, model in models.items():
        title = references[(model, "validation")]["$ref"].rpartition("/")[2]
        table = dict(found[title])
        properties = {
            key: _without_secret(field) for key, field in table["properties"].items() if key not in FILLED_BY_THE_HUB
        }
        table["properties"] = {**properties, "type": {"const": name, "description": "The phone system."}}
        table["required"] = sorted({*table.get("required", ()), "type"})
        table["title"] = name
        found[f"Source_{name}"] = table
        variants.append({"$ref": f"#/$defs/Source_{name}"})
    for title in own:
        del found[title]
    sections = {name: references[(model, "validation")] for name, model in _SECTIONS.items()}
    return {
        "$schema": _DIALECT,
        "title": "cdrhub configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **sections,
            "sources": {
                "type": "object",
                "description": "One table for each phone system; its name is the calls' column `source`.",
                "patternProperties": {NAME_PATTERN: {"oneOf": variants}},
                "additionalProperties": False,
            },
        },
        "$defs": found,
    }


def _without_secret(field: dict[str, Any]) -> dict[str, Any]:
    """A secret's default is shown as asterisks, which is worse than not shown."""
    secret = field.get("format") == "password"
    return {key: value for key, value in field.items() if not (secret and key == "default")}
