"""Counting what a batch did, for metrics and for whoever imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from cdrhub.errors import DecodeError
from cdrhub.model.record import INFERENCE
from cdrhub.store.batch import Item, Written


def counted(
    items: Sequence[Item],
    new: Iterable[Item],
    *,
    created: int,
    updated: int,
    conflicts: Sequence[str],
    settled: int,
    public: int,
) -> Written:
    """What a batch did, of which `new` are the items that were; `conflicts` are sources of calls, `settled` and
    `public` the facts."""
    by_source: dict[str, dict[str, int]] = {}
    received = Counter(item.record.source for item in items if item.record.content_type != INFERENCE)
    applied: Counter[str] = Counter()
    suspended: Counter[str] = Counter()
    count = 0
    for item in new:
        count += 1
        if item.record.content_type != INFERENCE:
            (suspended if isinstance(item.outcome, DecodeError) else applied)[item.record.source] += 1
    for source, records in received.items():
        by_source[source] = {
            "applied": applied[source],
            "suspended": suspended[source],
            "duplicates": records - applied[source] - suspended[source],
        }
    for source in conflicts:
        _add(by_source, source, "conflicts")
    return Written(
        records=len(items),
        new=count,
        duplicates=len(items) - count,
        suspended=suspended.total(),
        calls_created=created,
        calls_updated=updated,
        conflicts=len(conflicts),
        settled=settled,
        public=public,
        by_source=by_source,
    )


def counted_ignored(items: Sequence[Item]) -> Written:
    """Messages that say nothing of a call: they are counted, and that is all."""
    by_source: dict[str, dict[str, int]] = {}
    for item in items:
        _add(by_source, item.record.source, "ignored")
    return Written(records=len(items), ignored=len(items), by_source=by_source)


def _add(by_source: dict[str, dict[str, int]], source: str, word: str) -> None:
    counts = by_source.setdefault(source, {})
    counts[word] = counts.get(word, 0) + 1


def merged(parts: Sequence[Written]) -> Written:
    """What several batches did together."""
    by_source: dict[str, dict[str, int]] = {}
    for part in parts:
        for source, counts in part.by_source.items():
            mine = by_source.setdefault(source, {})
            for word, count in counts.items():
                mine[word] = mine.get(word, 0) + count
    totals: dict[str, Any] = {
        field.name: sum(getattr(part, field.name) for part in parts)
        for field in fields(Written)
        if field.name != "by_source"
    }
    return Written(**totals, by_source=by_source)
