"""Text that is no Unicode. The bytes of a file's name that is not UTF-8 are lone surrogates in it (PEP 383), and a
peer's own words may hold any: neither JSON nor a database or a terminal takes them."""

from __future__ import annotations


def without_surrogates(text: str) -> str:
    """`text` with a question mark for each lone surrogate."""
    return text.encode("utf-8", "replace").decode()
