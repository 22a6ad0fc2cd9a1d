"""A call is a function of the set of its records: their order, their repetition and the batches they came in cannot
matter. Shown on all captures of the systems that send many records a call, and on updates that contradict each other
in every way."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from support import astercc, enigma, freeswitch
from support.updates import updates

SCENARIOS = sorted({path.name.split(".")[0] for path in freeswitch.CAPTURES.glob("[0-9]*")})


def freeswitch_calls() -> dict[str, list[CallUpdate]]:
    """Every recorded call, told by every way in which it was recorded."""
    found: dict[str, list[CallUpdate]] = {}
    for scenario in SCENARIOS:
        names = sorted(path.name for path in freeswitch.CAPTURES.glob(f"{scenario}.*"))
        for mode in ("queue", "all"):
            for key, group in freeswitch.by_call(freeswitch.updates_of(*names, calls=mode)).items():
                found[f"{scenario}-{key[:8]}-{mode}"] = group
    return found


def other_calls() -> dict[str, list[CallUpdate]]:
    found = {
        name: [astercc.updated(body) for body in astercc.bodies_of(name)]
        for name in ("constructed-dialout-answered.txt", "constructed-dialin-second-agent-answers.txt")
    }
    for name in ("constructed-cdr-contacted.json", "constructed-cdr-queue-abandon.json"):
        found[name] = [enigma.updated((enigma.CAPTURES / name).read_bytes())]
    return found


CALLS = freeswitch_calls() | other_calls()


def assert_a_function_of_the_set(
    said: list[CallUpdate], shuffle: Callable[[list[CallUpdate]], list[CallUpdate]]
) -> None:
    call = fold(said)
    mixed = shuffle(said)
    assert fold(mixed) == call
    assert fold([*mixed, *said[: len(said) // 2]]) == call


@pytest.mark.parametrize("name", CALLS)
def test_order_and_repetition_of_recorded_calls(name: str) -> None:
    said = CALLS[name]
    assert_a_function_of_the_set(said, lambda them: list(reversed(them)))
    for seed in range(20):
        random = Random(seed)
        assert_a_function_of_the_set(said, lambda them, random=random: random.sample(them, len(them)))  # type: ignore[misc]


@given(st.sampled_from(sorted(CALLS)), st.data())
def test_any_part_of_a_recorded_call_in_any_order(name: str, data: st.DataObject) -> None:
    known = data.draw(st.lists(st.sampled_from(CALLS[name]), min_size=1, unique_by=lambda update: update.digest))
    assert_a_function_of_the_set(known, lambda them: data.draw(st.permutations(them)))


@given(updates(), st.data())
def test_any_updates_in_any_order_and_number(said: list[CallUpdate], data: st.DataObject) -> None:
    assert_a_function_of_the_set(said, lambda them: data.draw(st.permutations(them)))


@given(updates(), st.data())
def test_batches_do_not_matter(said: list[CallUpdate], data: st.DataObject) -> None:
    """The store folds the union of what it has and what came: whatever was folded in between leaves no trace."""
    call = fold(said)
    stored: list[CallUpdate] = []
    for update in data.draw(st.permutations(said)):
        stored = [*stored, update]
        fold(stored)
    assert fold(stored) == call
