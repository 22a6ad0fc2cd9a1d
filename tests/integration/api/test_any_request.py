"""Whatever a client sends, it hears what the OpenAPI document tells of, and never that something failed here."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdrhub.web.api.operation import Operation
from cdrhub.web.api.routes import OPERATIONS
from support.api import ADMIN, Client

EXAMPLES = 25  #: of each operation on each engine
NOBODY = "0199aaaa-0000-7000-8000-000000000001"

WORDS = st.sampled_from(
    [
        *(
            "",
            " ",
            "lagos",
            "tel-aviv",
            "C-1",
            "08039100001",
            "+972521234567",
            "all",
            "agent",
            "contacted",
            "not_reached",
        ),
        *(
            "2026-11-19T08:00:00Z",
            "2026-11-19T08:00:00",
            "Africa/Lagos",
            "null",
            "0",
            "-1",
            "\x00",
            "\u202e",
            "🎈" * 200,
        ),
        *("x" * 255, "x" * 256, "1" * 64, "1" * 65, "';--", "%", "_", "\\", "\udfff", "1e400"),
    ]
)
TEXTS = WORDS | st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXTS, inside, max_size=3),
    max_leaves=6,
)
NUMBERS = st.lists(st.fixed_dictionaries({"number": TEXTS}, optional={"label": TEXTS, "other": VALUES}), max_size=4)


def sendable(value: Any) -> Any:
    """Without lone surrogates, which no UTF-8 holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [sendable(one) for one in value]
    if isinstance(value, dict):
        return {sendable(name): sendable(one) for name, one in value.items()}
    return value


def bodies(operation: Operation) -> st.SearchStrategy[Any]:
    if operation.body is None:
        return st.none()
    names = [field.alias or name for name, field in operation.body.model_fields.items()]
    known = {name: NUMBERS if name == "numbers" else TEXTS for name in names}
    some = {"source": st.just("lagos"), "code": st.text(min_size=1, max_size=20), "numbers": NUMBERS}
    likely = st.fixed_dictionaries({name: some.get(name, TEXTS) for name in names})
    return likely | st.fixed_dictionaries({}, optional=known) | st.dictionaries(st.sampled_from(names), VALUES) | VALUES


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=st.data())
async def test_any_request_is_answered_as_the_document_tells(
    api: Client, operation: Operation, asked: st.DataObject
) -> None:
    code = asked.draw(TEXTS.filter(bool) | st.just("C-1"))
    query = asked.draw(st.dictionaries(st.sampled_from(sorted(operation.query.model_fields)), TEXTS, max_size=3))
    path = operation.path.format(code=quote(sendable(code), safe=""), id=NOBODY)
    if query:
        path += "?" + "&".join(f"{name}={quote(sendable(value), safe='')}" for name, value in query.items())
    body = sendable(asked.draw(bodies(operation)))
    answered = await api.ask(operation.method, path, body, token=ADMIN)
    assert answered.status < 500, (path, body, answered.body)
