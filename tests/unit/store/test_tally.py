"""Sums of what batches did."""

from __future__ import annotations

from cdrhub.store.batch import Written
from cdrhub.store.tally import merged


def test_sums_of_writes() -> None:
    one = Written(records=2, new=1, duplicates=1, by_source={"lagos": {"applied": 1, "duplicates": 1}})
    other = Written(records=3, new=3, calls_created=2, by_source={"lagos": {"applied": 2}, "kano": {"applied": 1}})
    assert merged([one, other]) == Written(
        records=5,
        new=4,
        duplicates=1,
        calls_created=2,
        by_source={"lagos": {"applied": 3, "duplicates": 1}, "kano": {"applied": 1}},
    )
