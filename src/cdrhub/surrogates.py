"""Lone surrogates in text: the bytes of a file's name that is not UTF-8 become such (PEP 383), and a peer's own words
may hold any. JSON, databases and terminals do not take them."""

from __future__ import annotations


def without_surrogates(text: str) -> str:
    """`text` with a question mark for each lone surrogate."""
    return text.encode("utf-8", "replace").decode()
