"""Each key and each word of an event goes where docs/sources/astercc.md says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.disposition import Direction, EndedBy, Outcome, Role, State
from cdrhub.model.fold import fold
from cdrhub.model.record import digest_of
from cdrhub.model.update import Authority, CallUpdate, Ignored
from support.astercc import decoded, event, updated

AT = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)  # of an event in second 0


def legs(update: CallUpdate) -> dict[str, Mapping[str, Any]]:
    """What an update says of each leg."""
    return {leg.leg_key: leg.values for leg in update.legs}


def unmapped(update: CallUpdate) -> Any:
    """The words that nobody knows."""
    return update.attributes.get("unmapped", {})


def test_words_count_in_any_case() -> None:
    said = [
        updated(event(source, word, 0, eventid="1")) for source, word in (("CALLEE", "ringing"), ("callee", "RINGING"))
    ]
    one, other = [(each.kind, each.values, each.legs, each.opens, each.event_id) for each in said]
    assert one == other
    assert one[0] == "callee.ringing"


@pytest.mark.parametrize("word", ["ringing", "incoming", "answer", "join", "onhold", "resume", "hangup"])
@pytest.mark.parametrize("source", ["AGENT", "CALLER", "CALLEE", "CONSULT", "CONVERSATION"])
def test_the_words_of_the_vendor_are_known(source: str, word: str) -> None:
    assert "unmapped_word" not in updated(event(source, word, 0, hangupfirst="AGENT")).flags


def test_an_update_is_known_by_the_bytes_that_came() -> None:
    body = event("CALLEE", "ringing", 0)
    assert updated(body).digest == digest_of(body)


def test_white_space_is_no_word() -> None:
    assert decoded(b"\r\n |Retuen|1|Retuen|BackMsg_19") == Ignored(why="reply")
    with pytest.raises(DecodeError) as refused:
        decoded(b"sessionid= &event=ringing")
    assert refused.value.reason is Reason.MISSING_KEY
    assert "note" not in updated(event("CALLEE", "ringing", 0, note=" ")).attributes


def test_words_that_nobody_knows_are_kept_short_and_open_nothing() -> None:
    long = updated(event("GHOST", "t" * 100, 0))
    assert unmapped(long) == {"source": "GHOST", "event": "t" * 64}
    assert long.kind == ("ghost." + "t" * 100)[:64]
    ghost = updated(event("GHOST", "ringing", 0, calltype="dialin"))
    assert (unmapped(ghost), ghost.opens) == ({"source": "GHOST"}, False)
    with pytest.raises(DecodeError) as refused:
        decoded(b"event=" + b"t" * 1000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("number", "place"), [("9" * 18, int("9" * 18)), ("0", 0), ("9" * 19, None), ("²", None), ("-1", None), ("", None)]
)
def test_what_is_no_number_of_an_event_gives_it_no_place(number: str, place: int | None) -> None:
    said = updated(event("CALLEE", "ringing", 0, eventid=number))
    assert (said.sequence.number if said.sequence is not None else None) == place
    assert (said.event_id is None) == (place is None)
    assert "eventid" not in said.attributes


@pytest.mark.parametrize(
    "other",
    [
        event("AGENT", "answer", 0, eventid="8", uniqueid="u1"),
        event("AGENT", "answer", 0, eventid="7", uniqueid="u2"),
        event("AGENT", "hangup", 0, eventid="7", uniqueid="u1"),
        event("CALLER", "answer", 0, eventid="7", uniqueid="u1"),
        event("AGENT", "answer", 0, eventid="7", uniqueid="u1", sessionid="s2"),
    ],
)
def test_two_events_are_one_only_where_all_that_tells_them_apart_is_alike(other: bytes) -> None:
    one = updated(event("AGENT", "answer", 0, eventid="7", uniqueid="u1"))
    assert updated(event("AGENT", "answer", 3, eventid="7", uniqueid="u1")).event_id == one.event_id
    assert updated(other).event_id != one.event_id


@pytest.mark.parametrize(
    ("source", "word", "calltype", "authority"),
    [
        ("CALLER", "hangup", "dialin", Authority.DECISIVE),
        ("CALLEE", "hangup", "dialout", Authority.DECISIVE),
        ("AGENT", "answer", "dialin", Authority.RECORD),
        ("AGENT", "hangup", "dialin", Authority.RECORD),
        ("AGENT", "answer", "dialout", Authority.RECORD),
        ("CONSULT", "answer", "dialin", Authority.RECORD),
        ("CONVERSATION", "hangup", "dialin", Authority.PROVISIONAL),
        ("GHOST", "hangup", "dialin", Authority.PROVISIONAL),
    ],
)
def test_whose_word_counts(source: str, word: str, calltype: str, authority: Authority) -> None:
    assert updated(event(source, word, 0, calltype=calltype)).authority is authority


@pytest.mark.parametrize(
    ("said", "direction", "kept"),
    [
        ({"calltype": "", "from": "dialin"}, Direction.INBOUND, "dialin"),
        ({"calltype": "DialOut", "from": "dialin"}, Direction.OUTBOUND, "dialout"),
        ({"calltype": "consult"}, Direction.UNKNOWN, "consult"),
        ({"calltype": "consult", "source": "CALLEE"}, Direction.OUTBOUND, "consult"),
        ({"calltype": "", "source": "CALLEE"}, Direction.OUTBOUND, None),
        ({"calltype": "", "source": "CALLER"}, Direction.INBOUND, None),
        ({"calltype": "", "source": "AGENT"}, Direction.UNKNOWN, None),
        ({"calltype": "inner"}, Direction.INTERNAL, "inner"),
        ({"calltype": "dialin", "source": "CONSULT"}, Direction.INBOUND, None),
    ],
)
def test_where_a_call_goes(said: dict[str, str], direction: Direction, kept: str | None) -> None:
    update = updated(event(said.pop("source", "AGENT"), "ringing", 0, **said))
    assert (update.values["direction"], update.values.get("type_raw")) == (direction, kept)
    assert unmapped(update) == ({"calltype": "inner"} if direction is Direction.INTERNAL else {})


def test_a_call_between_agents_is_told_by_whom_it_is_to_and_has_no_queue() -> None:
    called = updated(event("CALLEE", "ringing", 0, calltype="inner", activenum="6102", calleridnum="6101"))
    assert (called.values["callee_number"], called.values["dialed_number"], called.opens) == ("6102", "6102", True)
    calling = updated(event("AGENT", "ringing", 0, calltype="inner", calleridnum="6101"))
    assert (calling.values["caller_number"], calling.opens) == ("6101", True)
    assert list(legs(calling)) == ["agent:7001"]
    both = [updated(event("AGENT", "answer", 0, calltype="inner", uniqueid="1.1")), called]
    assert [leg.agent_id for leg in fold(both).legs if leg.role == Role.AGENT] == ["7001"]


def test_what_is_known_of_a_call() -> None:
    said = updated(
        event("CALLER", "incoming", 0, calltype="dialin", calleridname="Li", didnumber="02100009900", AgentTeamId="31")
    )
    assert (said.values["caller_name"], said.values["did"], said.values["team"]) == ("Li", "02100009900", "31")
    assert updated(event("CALLER", "incoming", 0, orgidentity="demo", AgentTeamId="31")).values["team"] == "demo"
    campaign = updated(event("CALLEE", "ringing", 0, modeltype="Campaign", model_id="10"))
    assert (campaign.values["campaign"], campaign.attributes["model_id"]) == ("10", "10")
    assert "campaign" not in updated(event("CALLEE", "ringing", 0, modeltype="BusinessApp", model_id="10")).values


def test_the_client_of_an_outgoing_call_has_a_name_and_its_did_is_kept() -> None:
    said = updated(event("CALLEE", "ringing", 0, calleridname="Li", didnumber="8008008"))
    assert (said.values["callee_name"], said.attributes["didnumber"]) == ("Li", "8008008")
    assert "did" not in said.values
    assert "didnumber" not in updated(event("CALLER", "incoming", 0, calltype="dialin", didnumber="8008008")).attributes


def test_an_incoming_calls_group_is_its_queue_and_another_calls_group_is_kept() -> None:
    incoming = updated(event("CALLER", "incoming", 0, calltype="dialin", AgentGroupId="301"))
    assert legs(incoming)["queue"]["queue_id"] == "301"
    assert "AgentGroupId" not in incoming.attributes
    assert updated(event("CALLEE", "ringing", 0, AgentGroupId="301")).attributes["AgentGroupId"] == "301"


def test_channels_are_kept_by_their_leg() -> None:
    assert updated(event("CALLEE", "ringing", 0, channel="c1")).attributes["channels"] == {"callee": "c1"}
    assert updated(event("", "ringing", 0, channel="c1", uniqueid="u1")).attributes["channels"] == {"u1": "c1"}


def test_the_agents_phone_is_the_configured_one_else_that_of_his_own_event() -> None:
    known = legs(updated(event("AGENT", "ringing", 0, activenum="9999", orgidentity="demo")))["agent:7001"]
    assert (known["number"], known["agent_extension"], known["team"]) == ("6101", "6101", "demo")
    own = legs(updated(event("AGENT", "ringing", 0, activenum="9999", agentno="7009")))["agent:7009"]
    assert (own["number"], own["agent_extension"]) == ("9999", "9999")
    customers = legs(updated(event("CALLEE", "ringing", 0, agentno="7009")))
    assert customers["agent:7009"].get("number") is None
    assert customers["callee"]["number"] == "02100005511"


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"uniqueid": "u1"}, "agent:u1"),
        ({"uniqueid": ""}, "agent:7001"),
        ({"uniqueid": "", "agentno": ""}, "agent"),
        ({"calltype": "dialout", "uniqueid": "u1"}, "agent:7001"),
        ({"calltype": "dialout", "agentno": ""}, "agent"),
    ],
)
def test_which_leg_an_agents_event_is_of(said: dict[str, str], key: str) -> None:
    update = updated(event("AGENT", "ringing", 0, **{"calltype": "dialin"} | said))
    assert key in legs(update)
    incoming = update.values["direction"] is Direction.INBOUND
    assert legs(update)[key].get("parent_leg") == ("queue" if incoming else None)


@pytest.mark.parametrize(
    ("source", "calltype", "word", "begins"),
    [
        ("AGENT", "dialout", "ringing", True),
        ("AGENT", "dialout", "answer", True),
        ("AGENT", "dialout", "hangup", False),
        ("CALLEE", "dialout", "ringing", True),
        ("CALLEE", "dialout", "answer", True),
        ("CALLEE", "dialout", "hangup", False),
        ("CALLER", "dialin", "incoming", True),
        ("AGENT", "dialin", "answer", True),
        ("AGENT", "dialin", "hangup", False),
        ("CONVERSATION", "dialin", "onhold", False),
    ],
)
def test_which_events_tell_when_a_call_began(source: str, calltype: str, word: str, begins: bool) -> None:
    update = updated(event(source, word, 0, calltype=calltype))
    assert update.values.get("started_at") == (AT if begins else None)


@pytest.mark.parametrize(
    ("source", "calltype", "first", "ends"),
    [
        ("CALLER", "dialin", "", (State.ENDED, AT)),
        ("CALLEE", "dialout", "", (State.ENDED, AT)),
        ("CONVERSATION", "dialin", "", (State.ENDED, AT)),
        ("AGENT", "dialin", "AGENT", (None, AT)),
        ("AGENT", "dialin", "", (None, None)),
        ("CONSULT", "dialin", "AGENT", (None, None)),
    ],
)
def test_which_hang_ups_end_a_call(
    source: str, calltype: str, first: str, ends: tuple[State | None, datetime | None]
) -> None:
    said = updated(event(source, "hangup", 0, calltype=calltype, hangupfirst=first)).values
    assert (said.get("state"), said.get("ended_at")) == ends


@pytest.mark.parametrize("by", [EndedBy.AGENT, EndedBy.CALLER, EndedBy.CALLEE])
def test_who_hung_up_first(by: EndedBy) -> None:
    assert updated(event("CONVERSATION", "hangup", 0, hangupfirst=by.value)).values["ended_by"] is by


@pytest.mark.parametrize(
    ("source", "word", "says"),
    [
        ("CALLER", "incoming", {"offered_at": AT}),
        ("AGENT", "ringing", {}),
        ("AGENT", "answer", {"answered_at": AT, "outcome": Outcome.ANSWERED}),
        ("AGENT", "hangup", {}),
        ("CALLER", "hangup", {"left_at": AT, "outcome": Outcome.ABANDONED}),
        ("CONVERSATION", "hangup", {"left_at": AT, "outcome": Outcome.ABANDONED}),
    ],
)
def test_what_an_event_says_of_the_queue(source: str, word: str, says: dict[str, Any]) -> None:
    queue = legs(updated(event(source, word, 0, calltype="dialin")))["queue"]
    assert {
        name: value for name, value in queue.items() if name in ("offered_at", "answered_at", "left_at", "outcome")
    } == says


@pytest.mark.parametrize(
    ("source", "calltype", "first", "outcome"),
    [
        ("AGENT", "dialin", "CALLER", Outcome.ANSWERED),
        ("AGENT", "dialin", "", Outcome.NO_ANSWER),
        ("AGENT", "dialout", "CALLEE", Outcome.ANSWERED),
        ("AGENT", "dialout", "", Outcome.NO_ANSWER),
        ("CALLEE", "dialout", "CALLEE", Outcome.FAILED),
    ],
)
def test_what_a_hang_up_alone_says_of_its_leg(source: str, calltype: str, first: str, outcome: Outcome) -> None:
    update = updated(event(source, "hangup", 0, calltype=calltype, hangupfirst=first))
    own = legs(update)["callee" if source == "CALLEE" else "agent:7001"]
    assert (own["left_at"], own["outcome"]) == (AT, outcome)


def test_an_agents_phone_is_not_the_number_that_he_calls() -> None:
    said = updated(event("AGENT", "answer", 0, activenum="6101", calleridnum="02100005511")).values
    assert (said["caller_number"], said["callee_number"]) == ("6101", "02100005511")
    assert "dialed_number" not in said


def test_a_customer_whose_own_number_is_missing_has_the_clients() -> None:
    update = updated(event("CALLEE", "ringing", 0, activenum=""))
    assert update.values["callee_number"] == legs(update)["callee"]["number"] == "02100005511"
    assert "dialed_number" not in update.values


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"uniqueid": "u9", "activenum": "6103"}, "consult:u9"),
        ({"activenum": "6103"}, "consult:6103"),
        ({"activenum": ""}, "consult"),
    ],
)
@pytest.mark.parametrize("calltype", ["dialin", "dialout"])
def test_a_consultation_is_one_leg_and_opens_no_call(said: dict[str, str], key: str, calltype: str) -> None:
    said = {"calltype": calltype} | said
    told = [updated(event("CONSULT", word, 0, **said)) for word in ("ringing", "answer", "join", "hangup")]
    assert not any(update.opens for update in told)
    rang, answered, joined, left = (legs(update)[key] for update in told)
    assert (rang["offered_at"], rang["outcome"]) == (AT, Outcome.NO_ANSWER)
    assert (answered["answered_at"], answered["outcome"]) == (AT, Outcome.ANSWERED)
    assert joined == answered
    assert left["left_at"] == AT
