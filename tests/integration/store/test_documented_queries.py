"""Every query of the pages runs on every engine, spelled as its page says for that engine."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from cdrhub.store import Store

DOCS = Path(__file__).resolve().parents[3] / "docs"
_OTHERS = re.compile(r"MariaDB:?\s`(.*?)`[^`]*PostgreSQL:?\s`(.*?)`")
_SECONDS = re.compile(r"(?:ROUND|strftime)\(.*(?= AS (?:wait|seconds)$)", re.MULTILINE)


def queries() -> list[dict[str, str]]:
    """Each query as it is spelled for each engine: the paragraph above it says what others than SQLite want."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        paragraphs = page.read_text("utf-8").split("\n\n")
        for before, paragraph in pairwise(paragraphs):
            if not paragraph.startswith("```sql\n"):
                continue
            query = paragraph.removeprefix("```sql\n").partition("```")[0]
            spelled = {"sqlite": query, "mariadb": query, "postgresql": query}
            others = _OTHERS.search(before)
            assert bool(others) == bool(_SECONDS.search(query)), query
            if others is not None:
                spelled["mariadb"] = _SECONDS.sub(others[1], query)
                spelled["postgresql"] = _SECONDS.sub(others[2], query)
            found.append(spelled)
    return found


@pytest.mark.parametrize("spelled", queries(), ids=lambda spelled: " ".join(spelled["sqlite"].split())[:50])
async def test_a_query_of_the_pages_runs(store: Store, store_url: str, spelled: dict[str, str]) -> None:
    async with store.database.connect() as connection:
        assert (await connection.execute(text(spelled[store_url.partition(":")[0]]))).keys()


def test_the_pages_have_queries_that_are_spelled_otherwise_elsewhere() -> None:
    assert sum(spelled["sqlite"] != spelled["mariadb"] != spelled["postgresql"] for spelled in queries()) == 2
