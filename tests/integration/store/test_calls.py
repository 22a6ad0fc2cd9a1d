"""Reading calls on every engine: filters, numbers in any spelling, pages."""

from __future__ import annotations

import random

import pytest

from cdrhub.errors import NotFound, UsageError
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.calls import CallFilter, Cursor, each, legs_of, listed, one, records_of, unnamed
from cdrhub.store.tables import calls
from support.ledger import at, ended, item, rows, story, updated


@pytest.fixture
async def told(store: Store) -> Store:
    """Twenty answered calls, one in a queue, one between inside parties, one withdrawn."""
    await store.write([item(ended(f"k{n}", n)) for n in range(20)])
    await store.write([item(body) for body in story("queued", 100)])
    inside = updated(
        item(ended("inside", 200)),
        values={
            "state": "ended", "direction": "internal", "caller_number": "101", "callee_number": "0102",
            "started_at": at(200), "disposition": "busy",
        },
        legs=(),
    )  # fmt: skip
    await store.write([inside, item(ended("gone", 300), source="abuja")])
    async with store.database.connect(writing=True) as connection:
        await connection.execute(calls.update().where(calls.c.call_key == "gone").values(state="withdrawn"))
    return store


async def keys(store: Store, chosen: CallFilter) -> set[str]:
    """The keys of all calls that are chosen."""
    return {row["call_key"] async for row in each(store, chosen)}


async def test_numbers_of_which_nothing_says_what_they_are(told: Store) -> None:
    def flagged(key: str, number: str | None, *flags: str) -> Item:
        values = {"state": "ended", "callee_number": number, "started_at": at(400)}
        return updated(item(ended(key)), values=values, flags=frozenset(flags), legs=())

    assert await unnamed(told) == []
    machines = [flagged("m1", "Ext.800", "kind_assumed"), flagged("m2", "Ext.611", "kind_assumed", "late")]
    others = [
        flagged("m3", "Ext.611", "kind_assumed"),
        flagged("m4", "Ext.7", "late"),
        flagged("m5", None, "kind_assumed"),
    ]
    await told.write(machines + others)
    assert await unnamed(told) == [("lagos", "Ext.611", 2), ("lagos", "Ext.800", 1)]


_INBOUND = {
    "state": "ended", "direction": "inbound", "caller_number": "0525484501", "caller_e164": "+972525484501",
    "started_at": at(1), "disposition": "answered",
}  # fmt: skip
ALL = {f"k{n}" for n in range(20)} | {"queued", "inside"}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (CallFilter(), ALL),
        (CallFilter(withdrawn=True), ALL | {"gone"}),
        (CallFilter(state="withdrawn"), {"gone"}),
        (CallFilter(since=at(18)), {"k18", "k19", "queued", "inside"}),
        (CallFilter(since=at(3), until=at(5)), {"k3", "k4"}),
        (CallFilter(source="abuja"), set()),
        (CallFilter(tenant=""), ALL),
        (CallFilter(queue="sales"), {"queued"}),
        (CallFilter(queue="8000"), {"queued"}),
        (CallFilter(agent="102", disposition="answered"), ALL - {"inside"}),
        (CallFilter(agent="Ade", since=at(18)), {"k18", "k19"}),
        (CallFilter(disposition="busy"), {"inside"}),
        (CallFilter(direction="internal"), {"inside"}),
        (CallFilter(number="+234 803 900 0007"), {"k7"}),
        (CallFilter(number="0803 9000007", region="NG"), {"k7"}),
        (CallFilter(number="0803 9000007", region="NG", readings=frozenset({"+2348039000008"})), {"k7", "k8"}),
        (CallFilter(number="08039000007"), {"k7"}),
        (CallFilter(number="2348039000007"), {"k7"}),
        (CallFilter(number="0803 9000007", readings=frozenset({"+2348039000007", "+972803900007"})), {"k7"}),
        (CallFilter(number="9000007"), {"k7"}),
        (CallFilter(number="09000007", readings=frozenset({"+49309000007"})), set()),
        (CallFilter(number="000007"), set()),
        (CallFilter(number="0102"), {"inside"}),
        (CallFilter(number="0102", readings=frozenset({"+4950102"})), {"inside"}),
        (CallFilter(number=" 01-02 "), {"inside"}),
        (CallFilter(number="101"), {"inside"}),
        (CallFilter(number="\u0660\u0668\u0660\u0663 \u0669000007"), {"k7"}),  # Arabic digits, some of them
        (CallFilter(number="\uff0b\uff12\uff13\uff148039000007"), {"k7"}),  # of full width
        (CallFilter(number="\u0661\u0660\u0661"), {"inside"}),
        (CallFilter(number="%"), set()),
        (CallFilter(number=""), set()),
        (CallFilter(id="k5"), {"k5"}),
        (CallFilter(id="nothing"), set()),
    ],
)
async def test_filters(told: Store, chosen: CallFilter, expected: set[str]) -> None:
    assert await keys(told, chosen) == expected


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_pages_lose_and_repeat_nothing(store: Store, limit: int) -> None:
    many = [item(ended(f"k{n:03}", n // 10)) for n in range(100)]
    random.Random(3).shuffle(many)
    await store.write(many)
    everything = sorted(await rows(store, calls), key=lambda row: (row["sort_at"], row["id"]), reverse=True)
    seen: list[str] = []
    after: Cursor | None = None
    while True:
        page = await listed(store, CallFilter(), after=after, limit=limit)
        seen += [row["id"] for row in page.rows]
        if page.next is None:
            break
        after = Cursor.parse(str(page.next))
    assert seen == [row["id"] for row in everything]


async def test_a_page_is_not_shifted_by_what_arrives(store: Store) -> None:
    await store.write([item(ended(f"k{n}", n)) for n in range(10)])
    first = await listed(store, CallFilter(), limit=5)
    await store.write([item(ended("newer", 50))])
    second = await listed(store, CallFilter(), after=first.next, limit=5)
    assert [row["call_key"] for row in (*first.rows, *second.rows)] == [f"k{n}" for n in range(9, -1, -1)]


async def test_the_newest_few(told: Store) -> None:
    found = [row["call_key"] async for row in each(told, CallFilter(), limit=3)]
    assert found == ["inside", "queued", "k19"]


async def test_one_call_with_its_legs_and_records(told: Store) -> None:
    call = await one(told, "queued")
    assert call == await one(told, call["id"])
    assert [leg["role"] for leg in await legs_of(told, call["id"])] == ["queue", "agent"]
    assert {record.body for record in await records_of(told, call["id"])} == set(story("queued", 100))


async def test_the_beginning_of_an_id_is_enough_where_no_other_call_has_it(store: Store) -> None:
    await store.write([item(ended("a", 1)), item(ended("b", 2))])
    first, second = sorted(row["id"] for row in await rows(store, calls))
    shared = next(place for place, (one_, other) in enumerate(zip(first, second, strict=True)) if one_ != other)
    for length in range(max(shared + 1, 8), 36):
        assert (await one(store, first[:length].upper()))["id"] == first
    if shared >= 8:
        with pytest.raises(UsageError, match=f"several calls .* {first} and {second}: "):
            await one(store, first[:shared])
    with pytest.raises(NotFound, match="no call whose id begins"):
        await one(store, "ffffffff-f")
    with pytest.raises(NotFound, match="no call whose id begins"):
        await one(store, "-" * 8)
    with pytest.raises(NotFound, match="8 characters or more"):
        await one(store, first[:7])


async def test_a_number_that_stands_on_the_inside_is_found_as_it_was_sent(store: Store) -> None:
    dialled = updated(item(ended("dialled", 1)), values={**_INBOUND, "callee_number": "0722776772"})
    await store.write([dialled])
    assert await keys(store, CallFilter(number="0722776772", readings=frozenset({"+972722776772"}))) == {"dialled"}


@pytest.mark.parametrize("spelling", ["0722776772", "072-277-6772", "+972 72 277 6772", "972722776772"])
async def test_an_own_number_is_found_in_every_usual_spelling(store: Store, spelling: str) -> None:
    own = {**_INBOUND, "callee_number": "0722776772", "callee_e164": "+972722776772"}
    await store.write([updated(item(ended("called", 1)), values=own), item(ended("other", 2))])
    assert await keys(store, CallFilter(number=spelling, readings=frozenset({"+972722776772"}))) == {"called"}


@pytest.mark.parametrize(
    ("sent", "asked", "found"),
    [
        ({"callee_number": "01-02"}, CallFilter(number="01-02"), True),
        ({"callee_number": "+101"}, CallFilter(number="101"), True),
        (
            {"callee_number": "972722776772"},
            CallFilter(number="072 2776772", readings=frozenset({"+972722776772"})),
            True,
        ),
        (
            {"caller_number": "00298201234", "caller_e164": "+298201234"},
            CallFilter(number="201234", region="FO"),
            True,
        ),
        ({"callee_number": "anonymous"}, CallFilter(number="anonymous"), False),
    ],
    ids=["with its blanks", "with a plus", "without one", "as short as an extension", "without a digit"],
)
async def test_numbers_as_they_were_sent(store: Store, sent: dict[str, str], asked: CallFilter, found: bool) -> None:
    await store.write([updated(item(ended("k", 1)), values=_INBOUND | sent), item(ended("other", 2))])
    assert await keys(store, asked) == ({"k"} if found else set())


async def test_a_call_in_which_a_number_stands_twice_is_listed_once_and_in_its_place(store: Store) -> None:
    said = {"state": "ended", "direction": "internal", "caller_number": "101", "callee_number": "101"}
    inside = [updated(item(ended(f"k{n}", n)), values={**said, "started_at": at(n)}, legs=()) for n in range(5)]
    dialled = {**_INBOUND, "callee_number": "102", "dialed_number": "101", "started_at": at(2.5)}
    await store.write([*inside, updated(item(ended("dialled", 9)), values=dialled, legs=())])
    expected = ["k4", "k3", "dialled", "k2", "k1", "k0"]
    for limit in (1, 2, 3, 6):
        seen: list[str] = []
        after: Cursor | None = None
        while after is not None or not seen:
            page = await listed(store, CallFilter(number="101"), after=after, limit=limit)
            seen += [row["call_key"] for row in page.rows]
            after = page.next
            if after is None:
                break
        assert seen == expected


async def test_a_call_that_does_not_exist(told: Store) -> None:
    with pytest.raises(NotFound, match="nothing"):
        await one(told, "nothing")


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x/y", "2026-01-01T00:00:00+00:00/x"),
        *(f"{at}/01981f7e-0000-7000-8000-000000000001" for at in ("x", "2026-01-01", "0001-01-01T00:00:00+14:00")),
    ],
)
def test_a_bad_page(cursor: str) -> None:
    with pytest.raises(UsageError, match="page"):
        Cursor.parse(cursor)
