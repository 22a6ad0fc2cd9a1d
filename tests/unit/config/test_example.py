"""config.example.toml is valid as it stands, and shows every key there is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from cdrhub.config import Config, DatabaseConfig, HttpConfig, HubConfig, RetentionConfig, Token, load, parse
from cdrhub.config.broadcast import BroadcastConfig, WebhookConfig
from cdrhub.config.redial import RedialConfig
from cdrhub.config.schema import json_schema
from cdrhub.redial import diallers
from cdrhub.sources.base import DecodeSettings, SourceConfig
from cdrhub.sources.registry import names, system

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
TEXT = EXAMPLE.read_text()
EXPORTS = " ".join(re.findall(r"^#   export (.+)$", TEXT, re.MULTILINE))
DOCUMENTED = dict(re.findall(r"([A-Z][A-Z_]+)=(\S+)", EXPORTS))
SYSTEMS = names()
DIALLERS = diallers.names()
COMMON = (SourceConfig.model_fields.keys() | DecodeSettings.model_fields.keys()) - {"entries"}


@pytest.fixture(scope="module")
def example() -> Config:
    return load(EXAMPLE, DOCUMENTED)


def test_it_is_valid_with_the_environment_it_documents(example: Config) -> None:
    assert {source.type for source in example.sources.values()} == set(SYSTEMS)
    assert example.http.tokens[0].token.get_secret_value() == DOCUMENTED["CDRHUB_BI_TOKEN"]


def _parts(text: str) -> Iterator[tuple[str, set[str]]]:
    """Each table header and the keys below it, commented or not."""
    for part in re.split(r"^(?:# )?(?=\[)", text, flags=re.MULTILINE)[1:]:
        header = part.partition("\n")[0]
        yield header, set(re.findall(r"^(?:# )?([a-z_]+) = ", part, re.MULTILINE))


def _keys(header: str) -> set[str]:
    return set().union(*(keys for found, keys in _parts(TEXT) if found.startswith(header)))


@pytest.mark.parametrize(
    ("header", "model"),
    [
        ("[hub]", HubConfig),
        ("[database]", DatabaseConfig),
        ("[http]", HttpConfig),
        ("[[http.tokens]]", Token),
        ("[retention]", RetentionConfig),
        ("[redial]", RedialConfig),
        ("[broadcast]", BroadcastConfig),
        ("[[broadcast.webhooks]]", WebhookConfig),
    ],
)
def test_it_has_every_key_of_every_table(header: str, model: type[BaseModel]) -> None:
    assert model.model_fields.keys() - {"tokens", "diallers", "case_lookup", "webhooks"} == _keys(header)


@pytest.mark.parametrize("name", DIALLERS)
def test_it_has_every_key_of_every_dialler_and_it_is_valid(name: str) -> None:
    parts = [part for part in TEXT.split("\n\n") if "# [redial.diallers." in part and f'type = "{name}"' in part]
    text = "\n".join(re.sub(r"^# ", "", part, flags=re.MULTILINE) for part in parts)
    shown = set(re.findall(r"^([a-z_]+) = ", text, re.MULTILINE)) | {"max_live", "max_per_second"}
    assert shown == set(diallers.dialler_type(name).config_model.model_fields)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    assert len(parse(text, path=EXAMPLE, environ=environ).redial.diallers) == len(parts)


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_has_every_key_of_every_system(name: str) -> None:
    model = system(name).config_model
    own = model.model_fields.keys() - COMMON - {"entries"}
    shown = set().union(*(keys for header, keys in _parts(TEXT) if header.startswith("[sources.")))
    of_this = set().union(
        *(keys for part, keys in _parts(TEXT) if part.startswith("[sources.") and f'type = "{name}"' in _body(part))
    )
    assert own <= of_this
    assert shown >= COMMON


def _body(header: str) -> str:
    return TEXT.partition(header)[2].partition("\n[")[0].partition("\n# [")[0]


def test_defaults_that_it_shows_are_the_defaults(example: Config) -> None:
    empty = Config(file=EXAMPLE)
    assert example.retention == empty.retention
    assert example.redial == empty.redial
    assert example.http.model_copy(update={"tokens": ()}) == empty.http
    assert example.hub.model_dump(exclude={"data_dir"}) == empty.hub.model_dump(exclude={"data_dir"})
    assert example.database.model_dump(exclude={"url"}) == empty.database.model_dump(exclude={"url"})


def _described(schema: Any, path: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if "description" not in field and "$ref" not in field:
            yield f"{path}.{name}"


def test_the_schema_describes_every_key_and_has_no_secret_default() -> None:
    schema = json_schema()
    tables = {name: table for name, table in schema["$defs"].items() if name != "DirectoryEntry"}
    missing = [key for name, table in tables.items() for key in _described(table, name)]
    assert missing == []
    assert "****" not in str(schema)
    assert {
        variant["$ref"] for variant in schema["properties"]["sources"]["patternProperties"].popitem()[1]["oneOf"]
    } >= {
        "#/$defs/Source_3cx",
        "#/$defs/Source_voicenter",
    }


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    schema = json_schema()
    references = set(re.findall(r"'\$ref': '#/\$defs/([^']+)'", str(schema)))
    assert references <= schema["$defs"].keys()


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    found = json_schema()
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def test_the_example_meets_the_schema_as_it_stands(schema: Draft202012Validator) -> None:
    schema.validate(tomllib.loads(TEXT))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("[hub]\nshutdown_seconds = 5", True),
        ('[hub]\nshutdown_seconds = "${SECONDS}"', True),
        ('[hub]\nshutdown_seconds = "soon"', False),
        ("[hub]\nshutdown_seconds = 0", False),
        ("[hub]\nshutdown_second = 5", False),
        ('[hub]\nlog_level = "${LEVEL}"', True),
        ('[hub]\nlog_level = "loud"', False),
        ('[broadcast]\npseudonym_key = "${KEY}"', True),
        ('[broadcast]\npseudonym_key = "short"', False),
        ('[sources.a]\ntype = "voicenter"\npath = "/ingest/v/${file:/run/secrets/v}"', True),
        ('[sources.a]\ntype = "voicenter"\npath = "/v/0123456789abcdef"', False),
        ('[sources.a]\ntype = "3cx"\nport = "${PORT}"\nregion = "${REGION}"', True),
        ('[sources.a]\ntype = "3cxx"', False),
    ],
)
def test_a_reference_may_stand_for_every_value(schema: Draft202012Validator, text: str, good: bool) -> None:
    assert schema.is_valid(tomllib.loads(text)) == good
