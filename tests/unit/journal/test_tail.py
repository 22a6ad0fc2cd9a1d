"""The journal's records in memory: one unbroken run up to the last entry, bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cdrhub.journal.tail import RECORD_BYTES, Tail
from cdrhub.model.record import RawRecord
from support.records import raw_record

BEGAN = datetime(2026, 3, 9, 10, tzinfo=UTC)


def record(seq: int, size: int = 10) -> RawRecord:
    return raw_record(bytes(size), source="s", received_at=BEGAN + timedelta(seconds=seq))


def filled(count: int, *, max_bytes: int = 2**20) -> Tail:
    tail = Tail(first=1, max_bytes=max_bytes)
    tail.add(1, [record(seq) for seq in range(1, count + 1)])
    tail.forget(upto=0)
    return tail


@given(
    sizes=st.lists(st.lists(st.integers(0, 3_000), min_size=1, max_size=5), max_size=8),
    checkpoints=st.lists(st.integers(0, 45), max_size=8),
    max_bytes=st.integers(0, 10_000),
)
def test_what_is_kept_is_the_end_within_the_limit(
    sizes: list[list[int]], checkpoints: list[int], max_bytes: int
) -> None:
    tail = Tail(first=1, max_bytes=max_bytes)
    last = 0
    for number, group in enumerate(sizes):
        tail.add(last + 1, [record(last + 1 + at, size) for at, size in enumerate(group)])
        last += len(group)
        upto = min(checkpoints[number], last) if number < len(checkpoints) else 0
        tail.forget(upto=upto)
        assert upto < tail.first <= last + 1
        kept = tail.read(tail.first, last=last, limit=100, max_bytes=2**30)
        assert [entry.seq for entry in kept] == list(range(tail.first, last + 1))
        assert sum(len(entry.record.body) + RECORD_BYTES for entry in kept) <= max_bytes
        assert [tail.received_at(entry.seq) for entry in kept] == [entry.record.received_at for entry in kept]


def test_a_read_is_bounded_by_count_and_bytes_and_gives_one_at_least() -> None:
    tail = filled(10)
    assert [entry.seq for entry in tail.read(3, last=10, limit=4, max_bytes=2**20)] == [3, 4, 5, 6]
    assert [entry.seq for entry in tail.read(3, last=5, limit=4, max_bytes=2**20)] == [3, 4, 5]
    assert [entry.seq for entry in tail.read(3, last=10, limit=4, max_bytes=25)] == [3, 4]
    assert [entry.seq for entry in tail.read(3, last=10, limit=4, max_bytes=1)] == [3]


def test_forgetting_beyond_its_end_begins_behind() -> None:
    tail = filled(3)
    tail.forget(upto=7)
    assert (tail.first, tail.received_at(3)) == (8, None)
    tail.add(8, [record(8)])
    assert [entry.seq for entry in tail.read(8, last=8, limit=9, max_bytes=99)] == [8]
