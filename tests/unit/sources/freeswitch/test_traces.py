"""Every recorded call of a real FreeSWITCH gives what the script that drove the phones wrote down, whether the switch
told of it by plain events, by JSON events, by CDR documents or by several of them."""

from __future__ import annotations

from typing import Any

import pytest

from cdrhub.model.disposition import Disposition, Outcome, Role
from cdrhub.model.fold import fold
from support.freeswitch import CAPTURES, calls_of, updates_of
from support.freeswitch_expected import EXPECTED, LIVES_ON, check_click_to_call, check_queue_call, near

EVENTS = ("plain.esl", "json.esl")
WAYS: tuple[tuple[str, ...], ...] = (
    ("plain.esl",),
    ("json.esl",),
    ("json_cdr.json",),
    ("xml_cdr.xml",),
    ("channels.esl",),
    ("plain.esl", "json_cdr.json"),
    ("json_cdr.json", "plain.esl", "json.esl"),
)

TWICE = [
    (f"{scenario}.{first}", f"{scenario}.{second}")
    for scenario in EXPECTED
    for first, second in (EVENTS, ("json_cdr.json", "xml_cdr.xml"))
    if (CAPTURES / f"{scenario}.{second}").exists()
]


def cases(kind: str) -> list[Any]:
    found = []
    for scenario, expected in EXPECTED.items():
        for way in WAYS:
            files = tuple(f"{scenario}.{suffix}" for suffix in way)
            if kind in expected and all((CAPTURES / file).exists() for file in files):
                found += [
                    pytest.param(scenario, files, mode, id="+".join(files) + f"-{mode}") for mode in ("queue", "all")
                ]
    return found


def told(scenario: str, files: tuple[str, ...]) -> bool:
    """Whether these files hold the end of the caller's channel."""
    return scenario not in LIVES_ON or any("cdr" in file or "channels" in file for file in files)


@pytest.mark.parametrize(("scenario", "files", "mode"), cases("calls"))
def test_a_queue_call(scenario: str, files: tuple[str, ...], mode: str) -> None:
    calls = calls_of(*files, calls=mode)
    expected = {call["member_session_uuid"]: call for call in EXPECTED[scenario]["calls"]}
    assert set(calls) == set(expected)
    for key, call in calls.items():
        check_queue_call(call, expected[key], ended=told(scenario, files))


@pytest.mark.parametrize(("scenario", "files", "mode"), cases("jobs"))
def test_a_click_to_call(scenario: str, files: tuple[str, ...], mode: str) -> None:
    calls = calls_of(*files, calls=mode)
    (expected,) = EXPECTED[scenario]["jobs"]
    (call,) = calls.values()
    check_click_to_call(call, expected)


@pytest.mark.parametrize("scenario", [name for name, expected in EXPECTED.items() if "jobs" in expected])
def test_a_click_to_call_of_whose_second_channel_no_document_came(scenario: str) -> None:
    """mod_json_cdr leaves out the second channel by default (log-b-leg)."""
    whole = next(iter(calls_of(f"{scenario}.json_cdr.json", calls="all").values()))
    first = [update for update in updates_of(f"{scenario}.json_cdr.json", calls="all") if "cdr:caller:" in update.kind]
    assert len(first) == 1
    call = fold(first)
    assert call.disposition == whole.disposition
    assert (call.call_key, call.callee_number) == (whole.call_key, whole.callee_number)
    if whole.disposition == Disposition.ANSWERED:
        assert call.ended_by == whole.ended_by


@pytest.mark.parametrize("scenario", [name for name, expected in EXPECTED.items() if "calls" in expected])
def test_the_callers_documents_alone_know_the_call(scenario: str) -> None:
    whole = calls_of(f"{scenario}.json_cdr.json")
    callers = [update for update in updates_of(f"{scenario}.json_cdr.json") if update.kind == "cdr:caller"]
    assert callers
    for update in callers:
        call, full = fold([update]), whole[update.call_key]
        for column in ("disposition", "agent_id", "agent_extension", "queue", "talk_seconds", "wait_seconds"):
            assert getattr(call, column) == getattr(full, column), column
        assert call.final


@pytest.mark.parametrize("names", TWICE, ids=lambda names: names[0])
def test_two_encodings_of_one_thing_give_one_call(names: tuple[str, str]) -> None:
    assert calls_of(names[0]) == calls_of(names[1])
    assert calls_of(*names) == calls_of(names[0])


def test_a_blind_transfer_is_a_further_leg_of_the_same_call() -> None:
    for names in (("08-blind-transfer.channels.esl",), ("08-blind-transfer.json_cdr.json",)):
        for mode in ("queue", "all"):
            (call,) = calls_of(*names, calls=mode).values()
            queue, agent, transfer = call.legs
            assert [leg.role for leg in call.legs] == [Role.QUEUE, Role.AGENT, Role.TRANSFER]
            assert agent.parent_leg == queue.leg_key
            assert (transfer.outcome, transfer.number, transfer.agent_extension) == (Outcome.ANSWERED, "1003", "1003")
            assert near(transfer.answered_at, 1795249475)
            assert near(transfer.left_at, 1795249478)
            assert call.agent_id == "alice@default"
