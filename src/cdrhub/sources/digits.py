"""Whole numbers as phone systems write them."""

from __future__ import annotations

SEQUENCE_DIGITS = 18  #: of a vendor's running number; they fit the 64 bits of its column


def whole(text: str | None, *, digits: int) -> int | None:
    """The number that `text` writes in 1 to `digits` digits and nothing else; None for anything else."""
    return int(text) if text and len(text) <= digits and text.isascii() and text.isdigit() else None
