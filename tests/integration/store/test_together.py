"""Changes that are made together, on each database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, delete, event, insert, select, update

from cdrhub.store import Store
from cdrhub.store.event_tables import request_keys
from cdrhub.store.redial_tables import do_not_call, redial_pauses
from cdrhub.store.together import Together
from support import ledger

CHANGES = Together(
    entry=insert(do_not_call).values({column: bindparam(column.name) for column in do_not_call.c}),
    pause=update(redial_pauses)
    .where(redial_pauses.c.name == bindparam("of"))
    .values(at=bindparam("new"), why=redial_pauses.c.why + "!"),
    answer=update(request_keys).where(request_keys.c.status == bindparam("of")).values(answer=bindparam("new")),
    gone=delete(redial_pauses).where(redial_pauses.c.name == bindparam("of")),
)


def entry(number: str) -> dict[str, Any]:
    """An entry for ever."""
    return {
        "tenant": "",
        "match_key": number,
        "e164": None,
        "source": "file",
        "checked_at": ledger.at(1),
        "until": None,
    }


@pytest.fixture
async def paused(store: Store) -> Store:
    """A store with pauses of five agents, and an answer to a request."""
    async with store.database.connect(writing=True) as connection:
        row = {"scope": "agent", "at": ledger.at(0), "actor": "anna", "why": "lunch"}
        await connection.execute(insert(redial_pauses), [row | {"name": name} for name in "abcde"])
        answer = {"tenant": "", "idempotency_key": "k", "digest": b"d" * 16, "status": 7, "at": ledger.at(0)}
        await connection.execute(insert(request_keys), answer | {"answer": {"before": 1}})
    return store


async def made(store: Store, rows: dict[str, list[dict[str, Any]]]) -> tuple[list[Any], list[Any], list[Any], int]:
    """Numbers with an entry, pauses, answers; and with how many statements they were made."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    async with store.database.connect(writing=True) as connection:
        await connection.execute(select(redial_pauses))  # begins
        event.listen(Engine, "before_cursor_execute", note)
        try:
            await CHANGES.execute(connection, rows)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        entries = (await connection.execute(select(do_not_call.c.match_key).order_by("match_key"))).scalars().all()
        columns = (redial_pauses.c.name, redial_pauses.c.at, redial_pauses.c.why)
        pauses = (await connection.execute(select(*columns).order_by("name"))).all()
        answers = (await connection.execute(select(request_keys.c.answer))).scalars().all()
    return list(entries), [tuple(row) for row in pauses], list(answers), len(seen)


async def test_one_row_each_is_one_statement_where_the_database_can(paused: Store) -> None:
    answer = {"said": ["a", None]}
    rows = {
        "entry": [entry("+1")],
        "pause": [{"of": "b", "new": ledger.at(5)}],
        "answer": [{"of": 7, "new": answer}],
        "gone": [{"of": "a"}],
    }
    entries, pauses, answers, statements = await made(paused, rows)
    left = [("b", ledger.at(5), "lunch!"), *((name, ledger.at(0), "lunch") for name in "cde")]
    assert (entries, pauses, answers) == (["+1"], left, [answer])
    assert statements == (1 if paused.database.kind == "postgresql" else 4)


async def test_several_rows_are_a_statement_for_each_kind(paused: Store) -> None:
    rows = {
        "entry": [entry("+1"), entry("+2")],
        "pause": [{"of": "b", "new": ledger.at(5)}],
        "answer": [],
        "gone": [{"of": "c"}, {"of": "d"}],
    }
    entries, pauses, answers, statements = await made(paused, rows)
    left = [("a", ledger.at(0), "lunch"), ("b", ledger.at(5), "lunch!"), ("e", ledger.at(0), "lunch")]
    assert (entries, pauses, answers) == (["+1", "+2"], left, [{"before": 1}])
    assert statements == 3
