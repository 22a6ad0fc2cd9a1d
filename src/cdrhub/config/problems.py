"""What is wrong with a configuration, in words: pydantic's errors made human, with the nearest word as suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cdrhub.config.keylines import KeyPath
from cdrhub.config.model import FILLED_BY_THE_HUB
from cdrhub.config.table import MAX_NAME, NAME_PATTERN

MAX_SHOWN = 60  #: characters of a value that a message shows

_KEY_FIRST = re.compile(r"`(?P<key>[A-Za-z_][A-Za-z0-9_-]*)`(?P<colon>: | )")
_WORDS = {
    "string_type": "must be text",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list, e.g. ['…', '…']",
    "list_type": "must be a list, e.g. ['…', '…']",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "path_type": "must be the path of a file",
}
_LIMITS = {
    "greater_than": ("gt", "must be more than {}"),
    "greater_than_equal": ("ge", "must be {} or more"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be {} or less"),
}
_LENGTHS = {
    "string_too_short": ("min_length", "must have {} characters or more"),
    "string_too_long": ("max_length", "must have {} characters or less"),
    "too_short": ("min_length", "must have {} entries or more"),
    "too_long": ("max_length", "must have {} entries or less"),
}


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?`, whatever the case of its letters, or which words there are."""
    known = sorted(words)
    if not known:
        return ": there is none yet"
    folded = {each.casefold(): each for each in known}
    near = get_close_matches(word.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else f": there are {', '.join(known)}"


def humanised(
    error: ValidationError, model: type[BaseModel], table: Mapping[str, Any]
) -> Iterator[tuple[KeyPath, str]]:
    """The way to each wrong key below `model`'s table, and what is wrong with it, each once.

    `table` is what was validated, but with references instead of what they stand for: its values are shown.
    """
    seen: set[tuple[KeyPath, str]] = set()
    for detail in error.errors(include_url=False, include_input=False):
        path, message = _problem(detail, model, table)
        if (path, message) not in seen:
            seen.add((path, message))
            yield path, message


def booleans_for_numbers(model: type[BaseModel], table: Mapping[str, Any]) -> Iterator[KeyPath]:
    """The way to each `true` or `false` that stands where `model` has a number: pydantic reads them as 1 and 0."""
    for key, value in table.items():
        field = model.model_fields.get(key)
        types = () if field is None else (field.annotation, *get_args(field.annotation))
        if isinstance(value, bool):
            if bool not in types and not {int, float}.isdisjoint(types):
                yield (key,)
        elif isinstance(value, Mapping) and (inner := _model_at(model, (key,))) is not None:
            yield from ((key, *path) for path in booleans_for_numbers(inner, value))


def _problem(detail: ErrorDetails, model: type[BaseModel], table: Mapping[str, Any]) -> tuple[KeyPath, str]:
    path = _inside(detail["loc"], table)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return path, f"there is no such key{nearest(str(path[-1]), _keys_at(model, path[:-1]))}"
    if kind == "missing":
        return path, _missing(model, path)
    if kind in {"value_error", "assertion_error"}:
        return _key_named(path, str(context.get("error", detail["msg"])))
    if kind in {"literal_error", "enum"}:
        words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        shown = value_at(table, path)
        return path, f"{_shown(shown)} is not one of {', '.join(words)}{_near_only(shown, words)}"
    if kind in {"too_short", "too_long"} and context.get("field_type") not in {"Tuple", "List", "Set"}:
        kind = f"string_{kind}"  # a secret counts as something with a length
    if kind in {"tuple_type", "list_type"} and isinstance(value_at(table, path), Mapping):
        return path, f"may be there several times: write [[…{path[-1]}]] with two brackets"
    for table_of_words in (_LIMITS, _LENGTHS):
        if kind in table_of_words:
            name, sentence = table_of_words[kind]
            limit = context.get(name)
            return path, sentence.format(f"{limit:g}" if isinstance(limit, float) else limit)
    if kind == "string_pattern_mismatch" and context.get("pattern") == NAME_PATTERN:
        return path, f"must begin with a-z or 0-9 and have up to {MAX_NAME} of the characters a-z 0-9 _ -"
    if kind == "string_pattern_mismatch":
        return path, f"does not have the form {context.get('pattern')}"
    return path, _WORDS.get(kind) or detail["msg"][:1].lower() + detail["msg"][1:]


def _key_named(path: KeyPath, message: str) -> tuple[KeyPath, str]:
    """A check of a whole table names the key in backquotes at the beginning of its message: that is the key."""
    found = _KEY_FIRST.match(message)
    if found is None:
        return path, message
    if path and path[-1] == found["key"]:
        return path, message[found.end() :]
    if isinstance(path[-1] if path else None, int):
        return path, message
    return (*path, found["key"]), message[found.end() :]


def _missing(model: type[BaseModel], path: KeyPath) -> str:
    owner = _model_at(model, path[:-1])
    field = owner.model_fields.get(str(path[-1])) if owner else None
    return f"is missing: {field.description}" if field is not None and field.description else "is missing"


def _inside(path: tuple[int | str, ...], table: Mapping[str, Any]) -> KeyPath:
    """Without the words that pydantic puts in for the members of a union."""
    out: list[int | str] = []
    value: Any = table
    for number, part in enumerate(path):
        if isinstance(value, Mapping) and isinstance(part, str):
            out.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            out.append(part)
            value = value[part]
        elif number == 0:
            out.append(part)
    return tuple(out)


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    owner = _model_at(model, path)
    return [] if owner is None else sorted(owner.model_fields.keys() - FILLED_BY_THE_HUB)


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    owner: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        field = owner.model_fields.get(part) if owner is not None else None
        owner = next(_models_in(field.annotation), None) if field is not None else None
    return owner


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def value_at(table: Mapping[str, Any], path: KeyPath) -> Any:
    """What stands at the end of `path`, which leads through tables and lists."""
    value: Any = table
    for part in path:
        value = value[part]
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _near_only(value: Any, words: list[str]) -> str:
    near = get_close_matches(str(value).lower(), words, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
