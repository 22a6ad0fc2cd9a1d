"""The plans of a decision's statements: those that a connection keeps, made when there was next to nothing in the
tables and used when there is a million, and that of the one whose tables were analysed amid a backlog."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import event

from cdrhub.redial.in_call import in_call
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


#: As many calls as the one that is there, and a fact of every tenth that it waits for its decision.
CALLS = """
INSERT INTO calls SELECT (jsonb_populate_record(c, jsonb_build_object('id', gen_random_uuid(), 'call_key', 'c' || n))).*
FROM calls AS c, generate_series(1, 20000) AS n
"""
SETTLED = """
INSERT INTO outbox (call_id, source, type, revision, due_at)
SELECT id, source, 'call.settled', 1, now() FROM calls WHERE call_key LIKE 'c%0'
"""


async def test_who_is_in_a_call_is_found_by_indexes_also_where_a_backlog_was_analysed(bench: Any) -> None:
    """All calls were gone through, once for each decision."""
    await bench.call("k", "+2348039100000", agent_id="201")
    async with bench.store.database.connect() as connection:
        for statement in (CALLS, SETTLED, "ANALYZE"):
            await connection.exec_driver_sql(statement)
    said: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    async with bench.store.database.connect(writing=True) as connection:
        event.listen(connection.sync_connection, "before_cursor_execute", hear)
        await in_call(connection, keys=["+2348039100000"], agents=["201"], now=datetime.now(UTC))
        statement, parameters = said[-1]
        plan = [str(row[0]) for row in await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
    looked_up = [following for line, following in pairwise(plan) if "calls_pkey" in line]
    assert looked_up, "\n".join(plan)
    assert all("Index Cond: (id = " in line for line in looked_up), "\n".join(plan)
