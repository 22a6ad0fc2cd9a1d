"""Who answered, and which legs there were, where the lines that were recorded do not decide it alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdrhub.model.disposition import Disposition, Outcome
from cdrhub.model.update import LegUpdate
from cdrhub.sources.threecx.legs import Legs
from cdrhub.sources.threecx.parties import NOBODY, Party
from cdrhub.sources.threecx.times import Times
from cdrhub.sources.threecx.verdict import Course, Verdict, judge, judge_click
from cdrhub.sources.threecx.words import ENDINGS, Change, Kind

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TIMES = Times(NOON, NOON + timedelta(seconds=5), NOON + timedelta(seconds=65), ambiguous=False)

OUTSIDE = Party(Kind.OUTSIDE, "0266904995", "10001")
AGENT, OTHER = Party(Kind.PERSON, "Ext.114", "114"), Party(Kind.PERSON, "Ext.115", "115")
QUEUE, SECOND_QUEUE = Party(Kind.QUEUE, "Ext.801", "801"), Party(Kind.QUEUE, "Ext.802", "802")
GROUP, MENU = Party(Kind.GROUP, "Ext.700", "700"), Party(Kind.IVR, "Ext.600", "600")
PICKUP, MAILBOX = Party(Kind.PICKUP, "PickupExt.114", ""), Party(Kind.VOICEMAIL, "VMail.114", "114")


def course(ending: str = "TerminatedBySrc", **said: Any) -> Course:
    """A call from outside to an agent that was picked up and talked, as far as nothing else is said."""
    known: dict[str, Any] = {
        "src": OUTSIDE,
        "to": AGENT,
        "final": NOBODY,
        "between": (),
        "change": Change.NONE,
        "connected": True,
        "at_once": False,
        "no_talk": False,
        "dialled_outside": False,
    }
    return Course(ending=ENDINGS[ending], **known | said)


def legs_of(one: Course, verdict: Verdict | None = None) -> Mapping[str, LegUpdate]:
    """The legs of a call that came in, by their keys."""
    found = Legs(one, verdict or judge(one), TIMES, 60, set()).of_call([], to_name="", final_name="")
    return {leg.leg_key: leg for leg in found}


@pytest.mark.parametrize(
    ("one", "disposition", "first"),
    [
        (course(), Disposition.ANSWERED, AGENT),
        (course(to=MENU, final=GROUP, change=Change.REPLACED_DST), Disposition.ANSWERED, GROUP),
        (course(to=MENU, final=GROUP, change=Change.PICKED_UP), Disposition.CANCELLED, None),
        (course(to=QUEUE, final=AGENT, change=Change.REPLACED_DST), Disposition.ANSWERED, AGENT),
        (course(to=QUEUE, final=AGENT, change=Change.REPLACED_SRC), Disposition.ABANDONED, None),
        (course(src=AGENT, to=OUTSIDE), Disposition.ANSWERED, AGENT),
        (course(src=AGENT, to=OUTSIDE, change=Change.FAILED_TRANSFER), Disposition.CANCELLED, None),
        (course("Failed", src=OTHER, to=PICKUP, connected=False), Disposition.CANCELLED, None),
        (course("timeout", to=MAILBOX, connected=False), Disposition.NO_ANSWER, None),
        (course("timeout", to=MAILBOX), Disposition.VOICEMAIL, None),
        (course(to=MENU), Disposition.IVR, None),
        (course(to=MENU, between=[QUEUE]), Disposition.ABANDONED, None),
    ],
)
def test_who_answered(one: Course, disposition: Disposition, first: Party | None) -> None:
    verdict = judge(one)
    assert (verdict.disposition, verdict.first, verdict.reached) == (disposition, first, first is not None)


@pytest.mark.parametrize(
    ("customer", "one", "disposition"),
    [
        (OUTSIDE, course(change=Change.REPLACED_DST), Disposition.ANSWERED),
        (OUTSIDE, course("TerminatedByDst"), Disposition.FAILED),
        (OUTSIDE, course(change=Change.FAILED_TRANSFER), Disposition.FAILED),
        (OUTSIDE, course(connected=False), Disposition.NOT_DIALLED),
        (OTHER, course(change=Change.REPLACED_DST), Disposition.ANSWERED),
        (OTHER, course("timeout", change=Change.REPLACED_DST), Disposition.NO_ANSWER),
    ],
)
def test_who_answered_a_click(customer: Party, one: Course, disposition: Disposition) -> None:
    verdict = judge_click(one, customer)
    assert (verdict.disposition, verdict.reached) == (disposition, disposition is Disposition.ANSWERED)


def test_an_extension_that_picked_up_at_once_may_be_a_machine() -> None:
    unsure = AGENT._replace(sure=False)
    assert judge(course(to=unsure, at_once=True)).assumed
    assert not judge(course(to=unsure)).assumed
    assert not judge(course(at_once=True)).assumed


def test_a_queue_between_who_did_not_answer_and_who_did_holds_the_wait() -> None:
    for between, waited in (([QUEUE], True), ([], False)):
        forwarded = course(between=between, final=OTHER, change=Change.FORWARDED)
        assert judge(forwarded).after_machine is waited
        assert ("answered_at" in legs_of(forwarded)["agent:115"].values) is not waited


def test_the_last_queue_before_a_person_gave_the_call_and_the_ones_before_it_did_not() -> None:
    legs = legs_of(course(to=QUEUE, between=[SECOND_QUEUE], final=AGENT, change=Change.REPLACED_DST))
    assert [leg.values["outcome"] for leg in legs.values()] == [Outcome.OVERFLOW, Outcome.ANSWERED, Outcome.ANSWERED]
    assert [leg.yields for leg in legs.values()] == [False, True, False]


def test_who_handed_a_call_over_was_not_there_to_its_end() -> None:
    handed_over = legs_of(course(final=OTHER, change=Change.REPLACED_DST))["agent:114"].values
    assert handed_over["outcome"] is Outcome.ANSWERED
    assert (handed_over.get("left_at"), handed_over["talk_seconds"]) == (None, None)
    stayed = legs_of(course())["agent:114"].values
    assert (stayed["left_at"], stayed["talk_seconds"]) == (TIMES.ended_at, 60)


def test_a_group_behind_a_menu_answered_nobody_knows_when() -> None:
    behind = legs_of(course(to=MENU, final=GROUP, change=Change.REPLACED_DST))["other:Ext.700"].values
    assert (behind["outcome"], behind.get("answered_at")) == (Outcome.ANSWERED, None)
    direct = legs_of(course(to=GROUP))["other:Ext.700"].values
    assert direct["answered_at"] == TIMES.answered_at


def test_a_mailbox_that_was_called_itself_rang_nobody() -> None:
    assert list(legs_of(course("timeout", to=MAILBOX))) == ["voicemail:114"]
    rang = legs_of(course("timeout", to=MAILBOX._replace(number="0266900114")))
    assert rang["agent:114"].values["outcome"] is Outcome.NO_ANSWER


def test_an_agent_whose_own_call_comes_back_to_him_is_no_transfer() -> None:
    for final, keys in ((AGENT, ["agent:114", "customer"]), (OTHER, ["agent:114", "customer", "transfer:115"])):
        one = course(src=AGENT, to=OUTSIDE, final=final, change=Change.REPLACED_DST)
        found = Legs(one, judge(one), TIMES, 60, set()).of_outbound("0266904995", src_name="", final_name="")
        assert [leg.leg_key for leg in found] == keys


def test_an_agent_of_a_click_who_picked_up_had_rung_also_where_no_route_was_found_then() -> None:
    for connected, offered_at in ((True, NOON), (False, None)):
        one = course("no_route", connected=connected)
        verdict = judge_click(one, OUTSIDE)
        agent, *_ = Legs(one, verdict, TIMES, 60, set()).of_click(OUTSIDE, agent_name="", customer_name="")
        assert agent.values.get("offered_at") == offered_at
