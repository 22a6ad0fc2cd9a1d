"""The plans that a connection keeps of a decision's statements: made when there was next to nothing in the tables, and
used when there is a million."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cdrhub.store import Store

KEPT = (
    "SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements "
    "WHERE generic_plans > 0 AND parameter_types <> '{}' AND starts_with(statement, 'SELECT')"
)
READ_WHOLE = frozenset({"redial_pauses_pkey"})  #: there are never many


@pytest.fixture
async def store_url(postgres_url: str) -> str:
    """A database of its own, which nobody analysed."""
    store = Store.open(postgres_url)
    await store.prepare()
    await store.close()
    return postgres_url


async def test_each_part_of_a_plan_that_is_kept_goes_by_the_index_for_it(bench: Any) -> None:
    for some in (range(1), range(1, 3)):
        for n in some:
            first, second, agent = f"+23480391{n:05d}", f"+23480392{n:05d}", f"{200 + n}"
            await bench.accepted(await bench.case(f"C-{n}", first, second, agent=agent), first, agent=agent)
            await bench.call(f"k{n}", first, agent_id=agent)
        assert (await bench.decide()).results == {"next": len(some)}
    async with bench.store.database.connect(writing=True) as connection:
        await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        kept = (await connection.exec_driver_sql(KEPT)).all()
        plans = []
        for name, statement, parameters in kept:
            assert "FROM calls" not in statement  # which index is best depends on how many calls there are
            nulls = ", ".join(["NULL"] * parameters)
            rows = await connection.exec_driver_sql(f'EXPLAIN EXECUTE "{name}" ({nulls})')
            plans.append([str(row[0]) for row in rows])
    assert len(plans) == 5
    for plan in plans:
        said = "\n".join(plan)
        assert "Seq Scan" not in said
        for line, following in zip(plan, [*plan[1:], ""], strict=True):
            used = re.search(r"Index (?:Only )?Scan (?:using|on) (\w+)", line)
            assert used is None or used[1] in READ_WHOLE or "Index Cond" in following, said
