"""The line of every key, for every way in which TOML lets one write it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.config.keylines import KeyPath, key_lines, line_of

DOCUMENT = '''# comment with [brackets] and "quotes"
title = "x # no comment"

[hub]
data_dir = 'C:\\new'
log.level = "info"
"quoted key" = 1

[a.b.c] # implied a and a.b
x = """
[not.a.table]
y = 1
""""
z = [1,
  2, # two
  [3, 4], { q = 1, r.s = [5] },
]

[[http.tokens]]
name = "one"
[http.tokens.limits]
rate = 5
[[http.tokens]]
name = "two"
when = 2026-03-01 08:30:00
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("hub",), 4),
        (("hub", "data_dir"), 5),
        (("hub", "log"), 6),
        (("hub", "log", "level"), 6),
        (("hub", "quoted key"), 7),
        (("a",), 9),
        (("a", "b", "c"), 9),
        (("a", "b", "c", "x"), 10),
        (("a", "b", "c", "z"), 14),
        (("a", "b", "c", "z", 1), 15),
        (("a", "b", "c", "z", 2, 1), 16),
        (("a", "b", "c", "z", 3, "q"), 16),
        (("a", "b", "c", "z", 3, "r", "s", 0), 16),
        (("http", "tokens", 0), 19),
        (("http", "tokens", 0, "name"), 20),
        (("http", "tokens", 0, "limits", "rate"), 22),
        (("http", "tokens", 1, "name"), 24),
        (("http", "tokens", 1, "when"), 25),
    ],
)
def test_line_of_every_kind_of_key(path: KeyPath, line: int) -> None:
    assert key_lines(DOCUMENT)[path] == line


def test_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("hub", "missing")) == 4
    assert line_of(lines, ("http", "tokens", 1, "role")) == 23
    assert line_of(lines, ("nowhere",)) is None


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found = {path} if path else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= _paths(item, (*path, key))
    return found


_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
_values = st.recursive(
    st.one_of(st.integers(-9, 9), st.booleans(), _text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=8,
)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ",\n # , ] }\n".join(map(_written, value)) + "\n]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(key)} = {_written(item)}" for key, item in value.items()) + " }"
    return str(value)


@given(st.dictionaries(_text, st.dictionaries(_text, _values, max_size=4), max_size=3))
def test_every_key_of_any_document_has_a_line(document: dict[str, dict[str, Any]]) -> None:
    text = "".join(
        f"[ {_quoted(table)} ] # x\n" + "".join(f"{_quoted(key)}={_written(value)}\n" for key, value in keys.items())
        for table, keys in document.items()
    )
    assert tomllib.loads(text) == document
    assert key_lines(text).keys() == _paths(document)
