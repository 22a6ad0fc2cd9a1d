"""The OpenAPI document: it is whole, and tells of every operation, its role, its problems and its bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cdrhub.web.api.operation import IDEMPOTENCY_KEY, MAX_IDEMPOTENCY_KEY, PREFIX, Operation, Writing
from cdrhub.web.api.problems import Kind
from cdrhub.web.api.routes import OPERATIONS
from support.api import DOCUMENT


def described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][PREFIX + operation.path][operation.method.lower()]
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inside in value.items():
            if name == "$ref":
                yield inside
            else:
                yield from references(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from references(inside)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    assert used == set(DOCUMENT["components"]["schemas"])


def test_every_operation_stands_once() -> None:
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert sorted(names) == sorted(operation.name for operation in OPERATIONS)
    assert len(set(names)) == len(names)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_tells_what_it_takes_and_answers(operation: Operation) -> None:
    told = described(operation)
    assert f"`{operation.role}`" in told["description"]
    in_path = {one["name"] for one in told["parameters"] if one["in"] == "path"}
    assert in_path == set(operation.path_names)
    assert all(f"{{{name}}}" in operation.path for name in in_path)
    in_query = {one["name"] for one in told["parameters"] if one["in"] == "query"}
    assert in_query == set(operation.query.model_fields)
    assert ("requestBody" in told) == (operation.body is not None)
    assert any(one["in"] == "header" for one in told["parameters"]) == isinstance(operation, Writing)
    for kind in operation.problems:
        assert f"`urn:cdrhub:problem:{kind.word}`" in told["responses"][str(kind.status)]["description"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_text_that_is_taken_is_described_and_bounded(operation: Operation) -> None:
    for parameter in described(operation)["parameters"]:
        assert parameter.get("description") or parameter["in"] == "path"
        assert "null" not in str(parameter["schema"])
    if operation.body is None:
        return
    for name, field in DOCUMENT["components"]["schemas"][operation.body.__name__]["properties"].items():
        assert field.get("description") or "$ref" in field, name
        if field.get("type") == "string" and name != "timezone":  # one of a known set
            assert "maxLength" in field, name


def test_an_idempotency_key_is_described_as_it_is_checked() -> None:
    dial = described(next(one for one in OPERATIONS if one.name == "dialCase"))
    schema = next(one["schema"] for one in dial["parameters"] if one["name"] == IDEMPOTENCY_KEY)
    keys = ("a", "a b", '"01a2"', "~" * MAX_IDEMPOTENCY_KEY, "", " ", "ü", "a\tb", "a\x7f")
    assert [bool(re.search(schema["pattern"], key)) for key in keys] == [True] * 4 + [False] * 5
    assert schema["maxLength"] == MAX_IDEMPOTENCY_KEY


def test_every_problem_is_told_somewhere_and_has_one_word() -> None:
    told = str(DOCUMENT["paths"])
    everywhere_else = {Kind.METHOD}  # of a path, not of an operation
    live_feed = {kind for kind in Kind if "readers" in kind.word}
    for kind in set(Kind) - everywhere_else - live_feed:
        assert f"`urn:cdrhub:problem:{kind.word}`" in told, kind
    assert len({kind.word for kind in Kind}) == len(list(Kind))
