"""The coverage ledger on every engine."""

from __future__ import annotations

from cdrhub.model.inference import Coverage, CoverageState
from cdrhub.store import Store
from cdrhub.store.coverage import stretches
from support.ledger import at, covered


def span(state: CoverageState, since: float, until: float | None, *, hub: str = "one") -> Coverage:
    """A stretch in seconds."""
    return Coverage(state=state, since=at(since), until=None if until is None else at(until), detail=state, hub=hub)


async def told(store: Store, **chosen: object) -> list[tuple[str, str, float, float | None]]:
    """The stretches in short."""
    return [
        (
            s.hub,
            s.state,
            (s.since - at(0)).total_seconds(),
            None if s.until is None else (s.until - at(0)).total_seconds(),
        )
        for s in await stretches(store, **chosen)  # type: ignore[arg-type]
    ]


async def test_the_end_completes_the_beginning(store: Store) -> None:
    await store.write([covered(span("connected", 0, None))])
    assert await told(store) == [("one", "connected", 0, None)]
    await store.write([covered(span("connected", 0, 60)), covered(span("blind", 60, None))])
    assert await told(store) == [("one", "connected", 0, 60), ("one", "blind", 60, None)]


async def test_a_stretch_that_was_never_ended_ends_with_the_next(store: Store) -> None:
    await store.write([covered(span("connected", 0, None)), covered(span("blind", 90, None))])
    assert await told(store) == [("one", "connected", 0, 90), ("one", "blind", 90, None)]


async def test_records_that_never_arrived_end_no_stretch(store: Store) -> None:
    await store.write([covered(span("connected", 0, None)), covered(span("blind", 20, 30))])
    assert await told(store) == [("one", "connected", 0, None), ("one", "blind", 20, 30)]
    await store.write([covered(span("blind", 90, 120)), covered(span("blind", 120, None))])
    assert await told(store) == [
        ("one", "connected", 0, 90),
        ("one", "blind", 20, 30),
        ("one", "blind", 90, 120),
        ("one", "blind", 120, None),
    ], "the hub was killed at 90"


async def test_a_blind_time_that_was_made_good_is_told_beside_it(store: Store) -> None:
    lasted = [span("connected", 0, None), span("blind", 90, 120), span("blind", 120, None), span("blind", 120, 125)]
    lasted += [span("connected", 125, None), span("backfilled", 90, 125)]
    await store.write([covered(one) for one in lasted])
    assert await told(store) == [
        ("one", "connected", 0, 90),
        ("one", "backfilled", 90, 125),
        ("one", "blind", 90, 120),
        ("one", "blind", 120, 125),
        ("one", "connected", 125, None),
    ]


async def test_two_hubs_have_their_own(store: Store) -> None:
    await store.write([covered(span("connected", 0, None)), covered(span("blind", 10, None, hub="two"))])
    assert await told(store) == [("one", "connected", 0, None), ("two", "blind", 10, None)]


async def test_a_part_of_the_time_and_one_source(store: Store) -> None:
    await store.write(
        [covered(span("connected", 0, 60)), covered(span("blind", 60, 90)), covered(span("idle", 90, None))]
    )
    await store.write([covered(span("connected", 0, 60), source="abuja")])
    assert await told(store, since=at(60), until=at(90)) == [("one", "blind", 60, 90)]
    assert await told(store, since=at(90)) == [("one", "idle", 90, None)]
    assert await told(store, source="abuja") == [("one", "connected", 0, 60)]
