"""Text that is safe to show: what comes from a phone line must not steer a terminal or a spreadsheet.

Caller names and dialled digits are written by strangers. A terminal obeys escape sequences (ECMA-48, C0 and C1
controls) and shows right-to-left overrides (Unicode bidirectional algorithm); a spreadsheet runs a cell that begins
with `=`, `+`, `-` or `@` as a formula (OWASP, CSV injection). Where semicolons separate cells, as in much of Europe, a
cell begins behind each of them, and behind each line break, for quotes count at a cell's beginning only.
"""

from __future__ import annotations

import re
from unicodedata import category

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")
_FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))(?=[=+\-@\uff0b\uff0d\uff1d\uff20])|^(?=[\t\r])")


def plain(text: str, *, keep: str = "") -> str:
    """`text` with control characters, directional overrides and lone surrogates made visible as `\\x1b` or dropped
    to a replacement; those in `keep` stay."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _visible(found[0]), text)


def cell(text: str) -> str:
    """`text` as a CSV cell that no spreadsheet runs: an apostrophe wherever a formula would begin.

    That includes telephone numbers in E.164, which begin with `+`: read them back with the apostrophe taken off, or
    use `--format json`.
    """
    return _FORMULA.sub("'", plain(text, keep="\n\t\r"))


def _visible(character: str) -> str:
    if category(character) == "Cs":
        return "\ufffd"
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"
