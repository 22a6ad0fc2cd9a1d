#!/usr/bin/env python3
"""Writes the examples of docs/events.md: one event of every type, as the real code renders it.

    .venv/bin/python tools/event_examples.py           rewrite the examples
    .venv/bin/python tools/event_examples.py --check   exit 1 if they are not up to date

The day that brings them about is tests/support/event_examples.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "events.md"

sys.path.insert(0, str(ROOT / "tests"))

from support.event_examples import examples  # noqa: E402 - it lies with the tests

_EXAMPLE = re.compile(
    r"(?<=^### )(?P<type>[a-z.]+)(?P<between>$.*?^```json\n)(?P<json>.*?)(?=^```$)", re.DOTALL | re.MULTILINE
)


def page_with(found: dict[str, dict[str, Any]], text: str) -> str:
    """`text`, the page, with the examples below the headings of their types."""

    def example(there: re.Match[str]) -> str:
        document = found.get(there["type"])
        if document is None:
            return there[0]
        return f"{there['type']}{there['between']}{json.dumps(document, indent=2, ensure_ascii=False)}\n"

    return _EXAMPLE.sub(example, text)


def main() -> int:
    """Rewrite or check the page; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(examples(Path(folder)))
    text = PAGE.read_text(encoding="utf-8")
    new = page_with(found, text)
    if "--check" in sys.argv[1:]:
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
