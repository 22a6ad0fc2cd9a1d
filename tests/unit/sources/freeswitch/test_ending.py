"""The inferred end of a call that left its queue alive, and what becomes of it when the switch tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cdrhub.hub.sweeper import FORGOTTEN_AFTER
from cdrhub.model.disposition import Disposition, State
from cdrhub.model.fold import fold
from cdrhub.model.inference import decode_inference, encode_inference
from cdrhub.model.update import CallUpdate
from cdrhub.sources.freeswitch import CDR_SYSTEM, SYSTEM
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig, FreeSwitchConfig
from cdrhub.sources.freeswitch.ending import UNHEARD_OF, provisional_end
from cdrhub.sources.freeswitch.reconcile import LIVING_AFTER
from support.freeswitch import Switch, by_call, calls_of, record_of, updated, updates_of


def inferred(scenario: str) -> CallUpdate:
    (call,) = calls_of(f"{scenario}.plain.esl").values()
    inference = provisional_end(call)
    assert inference is not None
    update = decode_inference(record_of(encode_inference(inference)))
    assert isinstance(update, CallUpdate)
    return update


@pytest.mark.parametrize(
    ("scenario", "disposition", "end"),
    [
        ("04-timeout", Disposition.ABANDONED, 1795249438),
        ("08-blind-transfer", Disposition.ANSWERED, 1795249473),
    ],
)
def test_a_call_that_left_its_queue_alive_ends_there_until_more_is_known(
    scenario: str, disposition: Disposition, end: int
) -> None:
    inference = inferred(scenario)
    events = updates_of(f"{scenario}.plain.esl")
    call = fold([*events, inference])
    assert (call.state, call.disposition) == (State.ENDED, disposition)
    assert call.ended_at == datetime.fromtimestamp(end, UTC)
    assert "end_inferred" in call.flags
    assert provisional_end(call) is None

    documents = updates_of(f"{scenario}.json_cdr.json")
    repaired = fold([inference, *documents, *events])
    assert repaired == fold([*events, *documents])
    assert "end_inferred" not in repaired.flags


def test_a_caller_who_comes_to_another_queue_is_in_that_queue() -> None:
    switch = Switch()

    def event(action: str, member: str, at: float, **told: str) -> CallUpdate:
        caller = {"CC-Queue": member, "CC-Member-UUID": member, "CC-Member-Session-UUID": "s1", "Unique-ID": "s1"}
        return updated(switch.callcenter(action, caller | {name.replace("_", "-"): told[name] for name in told}, at=at))

    cancelled = {"CC_Cause": "Cancel", "CC_Cancel_Reason": "TIMEOUT", "CC_Member_Leaving_Time": switch.second(30)}
    first = [event("member-queue-start", "m1", 2), event("member-queue-end", "m1", 30, **cancelled)]
    inference = provisional_end(fold(first))
    assert inference is not None
    end = decode_inference(record_of(encode_inference(inference)))
    assert isinstance(end, CallUpdate)
    assert fold([*first, end]).state == State.ENDED
    again = fold([*first, end, event("member-queue-start", "m2", 45)])
    assert (again.state, again.ended_at, again.queue, again.flags) == (State.QUEUED, None, "m2", ())


def test_two_hubs_infer_the_same_bytes() -> None:
    (call,) = calls_of("04-timeout.plain.esl").values()
    (other,) = calls_of("04-timeout.json.esl").values()
    first, second = provisional_end(call), provisional_end(other)
    assert first is not None
    assert second is not None
    assert encode_inference(first) == encode_inference(second)


def test_nothing_is_inferred_of_a_call_that_has_an_end_or_an_open_leg() -> None:
    (answered,) = calls_of("01-answered-caller-hangs-up.plain.esl").values()
    assert provisional_end(answered) is None
    ((_, updates),) = by_call(updates_of("01-answered-caller-hangs-up.plain.esl")).items()
    for known in range(1, len(updates)):
        call = fold(updates[:known])
        if call.state != State.ENDED and any(leg.left_at is None for leg in call.legs):
            assert provisional_end(call) is None
    (job,) = calls_of("13-agent-first-answered.plain.esl").values()
    assert provisional_end(job) is None


def test_an_end_is_inferred_only_where_the_switch_could_not_be_asked_for_long() -> None:
    (call,) = calls_of("04-timeout.plain.esl").values()
    config = FreeSwitchConfig(password="ClueCon")
    assert LIVING_AFTER < UNHEARD_OF <= FORGOTTEN_AFTER
    assert SYSTEM.conclude(config, call, silent_for=UNHEARD_OF - timedelta(seconds=1)) is None
    assert SYSTEM.conclude(config, call, silent_for=UNHEARD_OF) == provisional_end(call)
    documents = FreeSwitchCdrConfig(path="/ingest/freeswitch/0123456789abcdef")
    assert CDR_SYSTEM.conclude(documents, call, silent_for=timedelta(days=1)) is None
