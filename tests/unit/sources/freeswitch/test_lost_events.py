"""Dialled calls of which events were lost: no part of a conversation that FreeSWITCH recorded, nor what the hub infers
from it when the switch says that the channel is gone, lets redial go on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from cdrhub.model.call import Call
from cdrhub.model.disposition import Disposition, State
from cdrhub.model.fold import fold
from cdrhub.model.inference import decode_inference, encode_inference
from cdrhub.model.update import CallUpdate
from cdrhub.redial.decision import EndedCall
from cdrhub.redial.work import settled_call
from cdrhub.sources.freeswitch.reconcile import closed
from cdrhub.store.rows import FOLDED_COLUMNS
from support.freeswitch import RECEIVED, record_of, updates_of

ORDERS = ("agent-first", "customer-first")


def ended(call: Call) -> EndedCall:
    """A call as redial's decisions see it."""
    columns = {name: getattr(call, name) for name in (*FOLDED_COLUMNS, "call_key", "attributes", "flags")}
    columns |= {"source": "callcentre", "last_received_at": RECEIVED}
    return settled_call(columns, clock_suspect=False).ended


def goes_on(call: EndedCall) -> bool:
    """Whether, after this call, somebody else may be rung. The customer whom no agent met is left alone."""
    return not call.reached and not call.doubtful and call.disposition is not Disposition.ABANDONED


def gone(call: Call) -> CallUpdate:
    """What the hub infers once the switch says that it knows nothing of the call's channel."""
    update = decode_inference(record_of(encode_inference(closed(call))))
    assert isinstance(update, CallUpdate)
    return update


def calls_of_parts(updates: tuple[CallUpdate, ...]) -> Iterator[Call]:
    """Each call that some or all of these events make, with its end inferred where none of them tells it."""
    for size in range(1, len(updates) + 1):
        for part in combinations(updates, size):
            call = fold(part)
            if call.opened:
                yield call if call.state is State.ENDED else fold([*part, gone(call)])


@pytest.mark.parametrize("order", ORDERS)
def test_no_part_of_a_conversation_lets_redial_go_on(order: str) -> None:
    updates = updates_of(f"13-{order}-answered.plain.esl", calls="all")
    calls = list(calls_of_parts(updates))
    assert {call.state for call in calls} == {State.ENDED}
    assert len(calls) > 400
    for call in calls:
        assert not goes_on(ended(call)), call


UNREACHED = [f"{order}-{end}" for order in ORDERS for end in ("busy", "no-answer", "rejected")]


@pytest.mark.parametrize("scenario", [*UNREACHED, "agent-first-agent-no-answer"])
def test_a_call_that_reached_nobody_lets_it_go_on(scenario: str) -> None:
    assert goes_on(ended(fold(updates_of(f"13-{scenario}.plain.esl", calls="all"))))
