"""The OpenAPI 3.1 document of the API, made of its operations and their models. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from cdrhub import __version__
from cdrhub.web.api.operation import (
    IDEMPOTENCY_KEY,
    JSON,
    MAX_IDEMPOTENCY_KEY,
    PATH_NAMES,
    Body,
    Operation,
    Writing,
)
from cdrhub.web.api.problems import CONTENT_TYPE, PREFIX, Kind, Problem

SCHEMAS = "#/components/schemas/{model}"
EVERYWHERE = (Kind.TOKEN, Kind.FORBIDDEN, Kind.INVALID, Kind.INTERNAL, Kind.UNAVAILABLE)
WITH_A_BODY = (Kind.NOT_JSON, Kind.TOO_LONG, Kind.MEDIA_TYPE)
WITH_A_CHANGE = (Kind.CONFLICT, Kind.KEY_REUSED)
NO_CONTENT = "Done; nothing is answered."
PRINTABLE_ASCII = "^[ -~]*[!-~][ -~]*$"  #: and not blank
DESCRIPTION = """\
Cases, attempts, the do-not-call list, redial as a whole, and calls. Times are ISO 8601 in UTC. Texts have no control
characters, but those in `metadata`. A list is cut by `limit`; `next` is the `after` of its next page. What cannot be
done is answered as problem details (RFC 9457), whose `type` is stable."""

_Schemas = Mapping[Any, Mapping[str, Any]]
"""Of (model, what for)."""


def document(operations: Sequence[Operation], *, prefix: str) -> dict[str, Any]:
    """The document; `prefix` is where the operations' paths begin."""
    models: list[tuple[Any, JsonSchemaMode]] = [(Problem, "serialization")]
    for operation in operations:
        if operation.body is not None:
            models.append((operation.body, "validation"))
        models += [(model, "serialization") for model in operation.answers.values() if model is not None]
    schemas, definitions = models_json_schema(list(dict.fromkeys(models)), ref_template=SCHEMAS)
    components = dict(definitions["$defs"])
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, schemas, components)
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "cdrhub", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
    }


def _operation(operation: Operation, schemas: _Schemas, components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"Needs the role `{operation.role}`.",
        "parameters": [*_path(operation), *_query(operation, components), *_headers(operation)],
        "responses": {**_answers(operation, schemas), **_problems(operation, schemas)},
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": _needed(operation.body),
            "content": {JSON: {"schema": schemas[operation.body, "validation"]}},
        }
    return described


def _needed(body: type[Body]) -> bool:
    return any(field.is_required() for field in body.model_fields.values())


def _path(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in operation.path_names:
        yield {"name": name, "in": "path", "required": True, "schema": PATH_NAMES[name].json_schema()}


def _query(operation: Operation, components: dict[str, Any]) -> Iterable[dict[str, Any]]:
    schema = operation.query.model_json_schema(ref_template=SCHEMAS)
    components |= schema.get("$defs", {})
    required = schema.get("required", [])
    for name, said in schema.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": said.get("description", ""),
            "schema": _without_null(said),
        }


def _without_null(said: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a value that is left out or there: in a query nothing is null."""
    kept = {word: value for word, value in said.items() if word not in ("anyOf", "description")}
    for one in said.get("anyOf", ()):
        if one != {"type": "null"}:
            kept = {word: value for word, value in kept.items() if word != "default"} | one
    return kept


def _headers(operation: Operation) -> Iterable[dict[str, Any]]:
    if isinstance(operation, Writing):
        yield {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": False,
            "description": "The same request with the same key is carried out once, and answered alike.",
            "schema": {"type": "string", "maxLength": MAX_IDEMPOTENCY_KEY, "pattern": PRINTABLE_ASCII},
        }


def _answers(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, model in operation.answers.items():
        if model is None:
            answers[str(status)] = {"description": NO_CONTENT}
        else:
            content = {JSON: {"schema": schemas[model, "serialization"]}}
            answers[str(status)] = {"description": _first_line(model), "content": content}
    return answers


def _problems(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    kinds = {*EVERYWHERE, *operation.problems}
    if operation.body is not None:
        kinds |= {*WITH_A_BODY}
    if isinstance(operation, Writing):
        kinds |= {*WITH_A_CHANGE}
    if operation.path_names:
        kinds.add(Kind.NOT_FOUND)
    ordered = sorted(kinds, key=lambda kind: (kind.status, kind.word))
    return {
        str(status): {
            "description": " · ".join(f"`{PREFIX}{kind.word}`: {kind.title}." for kind in several),
            "content": {CONTENT_TYPE: {"schema": schemas[Problem, "serialization"]}},
        }
        for status, several in groupby(ordered, key=lambda kind: kind.status)
    }


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or model.__name__).splitlines()[0]
