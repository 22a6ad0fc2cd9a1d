"""Whose channel it is: transfers, pick-ups, an agent's several telephones, agents on standby, a second gateway."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cdrhub.model.call import Call
from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.fold import fold
from cdrhub.model.numbers import NumberPlan
from cdrhub.model.update import MAX_KEY, CallUpdate, Ignored
from cdrhub.sources.freeswitch.draft import Draft
from support.freeswitch import Switch, decoded, updated
from support.queue_call import AGENT_CHANNEL, MEMBER, SESSION, QueueCall, agents

ORIGINATED = "src/switch_ivr_originate.c"  #: Caller-Source of what `originate` placed; of an incoming call's, mod_sofia
TARGET = "8eabbf21-5eaa-4aa3-ae9b-524fa7ff2f48"
CALLER, CUSTOMER = "277d7207-fed1-49ec-971a-fc4f5a9dde97", "d58bc764-8de9-4e82-b40e-a66da9bc61fd"


def times(created: float, answered: float | None, gone: float | None, cause: str) -> dict[str, str]:
    said = {
        "Caller-Channel-Created-Time": Switch.micro(created),
        "Caller-Channel-Answered-Time": "0" if answered is None else Switch.micro(answered),
        "Caller-Channel-Bridged-Time": "0" if answered is None or gone is None else Switch.micro(answered),
    }
    if gone is not None:
        said |= {"Caller-Channel-Hangup-Time": Switch.micro(gone), "Hangup-Cause": cause}
    return said


def of_agent(
    it: QueueCall,
    name: str,
    uuid: str,
    user: str,
    *,
    created: float,
    answered: float | None = None,
    gone: float | None = None,
    cause: str = "",
    more: Mapping[str, str] | None = None,
) -> None:
    """Append an event of a channel that the queue placed to alice."""
    said = times(created, answered, gone, cause) | {
        "Unique-ID": uuid,
        "Call-Direction": "outbound",
        "variable_cc_side": "agent",
        "variable_cc_member_uuid": MEMBER,
        "variable_cc_member_session_uuid": it.session,
        "variable_cc_agent": "alice@default",
        "variable_cc_agent_type": "callback",
        "variable_dialed_user": user,
        "variable_cc_agent_bridged": "true",
    }
    at = next(time for time in (gone, answered, created) if time is not None)
    it.bodies.append(it.switch.event(name, said | dict(more or {}), at=at))


def talked(it: QueueCall, *, answered: float, until: float) -> None:
    it.answer(answered, called=2)
    it.agent_end(until, called=2, answered=answered)


@pytest.mark.parametrize("more", [{}, {"Call-Direction": "outbound", "variable_originating_leg_uuid": CALLER}])
def test_a_caller_in_a_queue_is_the_call_whoever_is_joined_to_the_channel_or_placed_it(more: dict[str, str]) -> None:
    """An attended transfer, a pick-up and uuid_bridge make the other channel's uuid the Channel-Call-UUID; an agent who
    called somebody may transfer him into a queue."""
    it = QueueCall()
    said = it.channel(gone=100, cause="NORMAL_CLEARING", by="recv_bye")
    body = it.switch.event("CHANNEL_HANGUP_COMPLETE", said | {"Channel-Call-UUID": TARGET} | more, at=100)
    assert updated(body).call_key == SESSION


def test_a_call_outside_queues_keeps_its_own_end_after_an_attended_transfer() -> None:
    it = QueueCall()
    said = it.channel(gone=100, cause="NORMAL_CLEARING", by="recv_bye") | {"Channel-Call-UUID": TARGET}
    del said["variable_cc_side"]
    update = updated(it.switch.event("CHANNEL_HANGUP_COMPLETE", said, at=100), calls="all")
    assert (update.call_key, update.values["state"]) == (SESSION, State.ENDED)


def test_an_agent_who_is_rung_on_two_telephones_is_one_leg_of_the_one_that_answered() -> None:
    it = QueueCall()
    it.start()
    it.offering(2)
    for uuid, user in (("desk", "1002"), (AGENT_CHANNEL, "1001")):
        of_agent(it, "CHANNEL_CREATE", uuid, user, created=2.02)
    of_agent(it, "CHANNEL_ANSWER", AGENT_CHANNEL, "1001", created=2.02, answered=5)
    of_agent(it, "CHANNEL_HANGUP_COMPLETE", "desk", "1002", created=2.02, gone=5, cause="LOSE_RACE")
    talked(it, answered=5, until=60)
    of_agent(
        it,
        "CHANNEL_HANGUP_COMPLETE",
        AGENT_CHANNEL,
        "1001",
        created=2.02,
        answered=5,
        gone=60,
        cause="NORMAL_CLEARING",
    )
    it.hangup(60)
    assert agents(it.call) == [("alice@default", Outcome.ANSWERED, "NORMAL_CLEARING")]
    assert (it.call.agent_extension, it.call.flags, it.call.talk_seconds) == ("1001", (), 55)


def test_a_second_telephone_that_is_rung_after_the_first_is_the_same_offer() -> None:
    it = QueueCall()
    it.start()
    it.offering(2)
    of_agent(it, "CHANNEL_HANGUP_COMPLETE", "desk", "1002", created=2.02, gone=22, cause="NO_ANSWER")
    talked(it, answered=25, until=60)
    of_agent(
        it,
        "CHANNEL_HANGUP_COMPLETE",
        AGENT_CHANNEL,
        "1001",
        created=22.1,
        answered=25,
        gone=60,
        cause="NORMAL_CLEARING",
    )
    it.hangup(60)
    assert agents(it.call) == [("alice@default", Outcome.ANSWERED, "NORMAL_CLEARING")]
    assert (it.call.agent_extension, it.call.ring_seconds, it.call.talk_seconds) == ("1001", 23, 35)


def test_the_hours_of_an_agent_on_standby_are_not_those_of_the_last_caller() -> None:
    """Such an agent called in, and the switch joins callers to this one channel until he leaves."""
    standby = {
        "Call-Direction": "inbound",
        "Caller-Destination-Number": "*45",
        "variable_user_name": "1001",
        "variable_dialed_user": "",
        "variable_cc_agent_type": "uuid-standby",
        "variable_hold_accum_seconds": "900",
    }
    it = QueueCall()
    it.start()
    it.offering(2)
    started = it.member() | it._agent(2, called=2, agent="alice@default", channel=AGENT_CHANNEL) | standby
    it.bodies.append(it.switch.callcenter("bridge-agent-start", started, at=2))
    it.bodies.append(
        it.switch.callcenter("bridge-agent-end", started | {"CC-Bridge-Terminated-Time": Switch.second(60)}, at=60)
    )
    it.hangup(60)
    of_agent(
        it,
        "CHANNEL_HANGUP_COMPLETE",
        AGENT_CHANNEL,
        "",
        created=-7200,
        answered=-7199,
        gone=7200,
        cause="NORMAL_CLEARING",
        more=standby,
    )
    assert agents(it.call) == [("alice@default", Outcome.ANSWERED, None)]
    assert (it.call.agent_extension, it.call.talk_seconds, it.call.hold_seconds) == ("1001", 58, None)
    assert (it.call.answered_at, it.call.wait_seconds) == (Switch.moment(2), 2)


def test_a_second_queue_is_entered_when_its_event_says_so() -> None:
    """Older switches send the event first and set cc_queue_joined_epoch then."""
    it = QueueCall()
    it.start()
    it.cancel(30, "TIMEOUT", alive=True)
    second = it.member("2") | it.channel() | {"variable_cc_queue_joined_epoch": Switch.second(0)}
    it.bodies.append(it.switch.callcenter("member-queue-start", second, at=40))
    assert [leg.offered_at for leg in it.call.legs] == [Switch.moment(0), Switch.moment(40)]


def test_a_second_queue_and_a_second_try_contradict_nothing() -> None:
    """The caller was transferred to the second queue, so his RDNIS is the first; an agent is tried at once again."""
    it = QueueCall()
    dialled = [{"Caller-RDNIS": "0140300000"}, {"Caller-RDNIS": "3000", "Caller-Destination-Number": "4000"}]
    for number, (member, caller) in enumerate(zip(("1", "2"), dialled, strict=True)):
        start, said = 40 * number, it.member(member) | {"CC-Agent": "alice@default"}
        entered = said | it.channel() | caller
        it.bodies.append(it.switch.callcenter("member-queue-start", entered, at=start))
        for tenths, cause in ((0, "USER_BUSY"), (12, "CALL_REJECTED")):
            called = {"CC-Agent-Called-Time": Switch.second(start + tenths / 10), "CC-Hangup-Cause": cause}
            failed = said | called | {"CC-Member-DNIS": caller["Caller-RDNIS"]}
            it.bodies.append(it.switch.callcenter("bridge-agent-fail", failed, at=start + 2))
        it.cancel(start + 30, "TIMEOUT", member=member, alive=True)
    it.hangup(90)
    assert (it.call.did, it.call.dialed_number, "conflict" in it.call.flags) == ("0140300000", "0140300000", False)


def test_the_kind_of_an_event_is_no_longer_than_a_key() -> None:
    said = Draft("s1", f"agent-offering:{'m' * 100_000}", NumberPlan())
    assert len(said.update(digest=b"d", at=None, sequence=None, event_id=None).kind) <= MAX_KEY


def test_an_agents_own_call_that_is_transferred_is_none_that_the_switch_placed() -> None:
    """Its customer's channel is outbound, and asks for the colleague's."""
    colleague = times(30, 33, 60, "NORMAL_CLEARING") | {
        "Unique-ID": TARGET,
        "Call-Direction": "outbound",
        "Caller-Source": "mod_sofia",
        "Other-Leg-Direction": "outbound",
        "Other-Leg-Source": "mod_sofia",
        "Other-Leg-Destination-Number": "1002",
        "variable_originating_leg_uuid": CUSTOMER,
        "variable_dialed_user": "1002",
    }
    assert decoded(Switch().event("CHANNEL_HANGUP_COMPLETE", colleague, at=60)) == Ignored(why="not_queue_call")


@pytest.mark.parametrize(("application", "talk"), [("bridge", 115), ("play_and_get_digits", 25)])
def test_what_the_dialplan_does_after_the_talk_is_no_talk(application: str, talk: int) -> None:
    switch = Switch()
    caller = times(0, 4, 120, "NORMAL_CLEARING") | {
        "Unique-ID": CALLER,
        "Call-Direction": "inbound",
        "Caller-Caller-ID-Number": "+33140300001",
        "Caller-Destination-Number": "1003",
        "Caller-Channel-Bridged-Time": Switch.micro(5),
        "variable_last_bridge_to": TARGET,
        "variable_last_app": application,
    }
    agent = times(1, 5, 30 if talk == 25 else 120, "NORMAL_CLEARING") | {
        "Unique-ID": TARGET,
        "Call-Direction": "outbound",
        "variable_originating_leg_uuid": CALLER,
        "variable_dialed_user": "1003",
    }
    call = fold(
        [updated(switch.event("CHANNEL_HANGUP_COMPLETE", each, at=120), calls="all") for each in (caller, agent)]
    )
    assert (call.disposition, call.talk_seconds, call.duration_seconds) == (Disposition.ANSWERED, talk, 120)


def test_who_is_consulted_and_then_has_the_customer_talked_in_the_consultation_until_that_ended() -> None:
    switch, number = Switch(), {"Caller-Caller-ID-Number": "1001", "Caller-Destination-Number": "1003"}
    consulting = number | {
        "Unique-ID": CALLER,
        "Call-Direction": "inbound",
        "variable_last_bridge_to": TARGET,
        "variable_dialed_user": "1003",
    }
    target = number | {
        "Unique-ID": TARGET,
        "Call-Direction": "outbound",
        "Other-Leg-Direction": "inbound",
        "variable_originating_leg_uuid": CALLER,
        "variable_dialed_user": "1003",
    }
    events = [consulting | times(0, 5, 20, "ATTENDED_TRANSFER"), target | times(0, 5, 300, "NORMAL_CLEARING")]
    call = fold([updated(switch.event("CHANNEL_HANGUP_COMPLETE", each, at=300), calls="all") for each in events])
    assert (call.call_key, call.duration_seconds, call.talk_seconds) == (CALLER, 20, 15)
    assert [leg.talk_seconds for leg in call.legs] == [15]


def by_gateways(*, tried: int) -> Call:
    """A click to call, agent first; the first gateway fails at once, the second one reaches the customer."""
    switch = Switch()
    agent = {
        "Unique-ID": CALLER,
        "Call-Direction": "outbound",
        "Caller-Destination-Number": "1001",
        "variable_dialed_user": "1001",
    }

    def customer(uuid: str) -> dict[str, str]:
        return {
            "Unique-ID": uuid,
            "Call-Direction": "outbound",
            "Channel-Call-UUID": CALLER,
            "variable_originating_leg_uuid": CALLER,
            "variable_sip_gateway_name": "carrier",
            "variable_sip_to_user": "+33140300009",
            "Other-Leg-Direction": "outbound",
            "Other-Leg-Source": ORIGINATED,
            "Other-Leg-Destination-Number": "+33140300009",
        }

    legs = f"ARRAY::first;Out;+33140300009|:{CUSTOMER};Out;+33140300009"
    left = {
        "variable_originated_legs": legs,
        "variable_originate_causes": f"ARRAY::first;GATEWAY_DOWN|:{CUSTOMER};NONE",
    }
    events = [
        ("CHANNEL_ANSWER", agent | times(0, 3, None, "")),
        ("CHANNEL_HANGUP_COMPLETE", customer("first") | times(3, None, 5, "GATEWAY_DOWN")),
        ("CHANNEL_CREATE", customer(CUSTOMER) | times(5.1, None, None, "")),
        ("CHANNEL_HANGUP_COMPLETE", customer(CUSTOMER) | times(5.1, 12, 60, "NORMAL_CLEARING")),
        ("CHANNEL_HANGUP_COMPLETE", agent | times(0, 3, 60.1, "NORMAL_CLEARING") | left),
    ]
    return fold([updated(switch.event(*event, at=at)) for at, event in enumerate(events[:tried])])


def test_a_customer_whom_the_second_gateway_rings_is_not_lost_by_the_first_ones_failure() -> None:
    call = by_gateways(tried=3)
    assert (call.state, call.disposition, call.ended_at) == (State.RINGING, None, None)
    call = by_gateways(tried=5)
    assert (call.disposition, call.cause, call.flags) == (Disposition.ANSWERED, "NORMAL_CLEARING", ())
    assert (call.ended_at, call.talk_seconds) == (Switch.moment(60), 48)
    assert [leg.outcome for leg in call.legs if leg.role == Role.CUSTOMER] == [Outcome.FAILED, Outcome.ANSWERED]


@pytest.mark.parametrize(
    ("first", "role", "disposition"),
    [
        ({"variable_dialed_user": "1001"}, Role.AGENT, Disposition.NOT_DIALLED),
        ({"variable_sip_gateway_name": "carrier"}, Role.CUSTOMER, Disposition.ABANDONED),
    ],
    ids=["agent first", "customer first"],
)
def test_each_try_of_a_channel_that_is_placed_again_is_a_leg(
    first: dict[str, str], role: Role, disposition: Disposition
) -> None:
    """`originate {origination_uuid=…,originate_retries=3}…`: each try is a channel of this uuid."""
    switch, placed = Switch(), first | {"Unique-ID": CALLER, "Call-Direction": "outbound"}
    events = []
    for created, answered, gone, cause in (
        (0, None, 2, "USER_BUSY"),
        (3, None, 9, "NO_ANSWER"),
        (10, 14, 50, "NORMAL_CLEARING"),
    ):
        begun = placed | times(created, None, None, "")
        over = placed | times(created, answered, gone, cause) | {"Caller-Channel-Bridged-Time": "0"}
        events += [("CHANNEL_CREATE", begun), ("CHANNEL_HANGUP_COMPLETE", over)]
    call = fold([updated(switch.event(*event, at=50)) for event in events])
    tries = [leg for leg in call.legs if leg.role == role]
    assert [(leg.outcome, leg.cause, leg.ring_seconds) for leg in tries] == [
        (Outcome.BUSY, "USER_BUSY", 2),
        (Outcome.NO_ANSWER, "NO_ANSWER", 6),
        (Outcome.NOT_BRIDGED, "NORMAL_CLEARING", 4),
    ]
    assert (call.disposition, call.cause, call.ended_at) == (disposition, "NORMAL_CLEARING", Switch.moment(50))
    assert "conflict" not in call.flags


@pytest.mark.parametrize(
    "parent",
    [
        {"Other-Leg-Channel-Name": "sofia/external/0140300077", "Other-Leg-RDNIS": "5000"},
        {"Other-Leg-Channel-Name": "sofia/external/k3x@192.0.2.1", "Other-Leg-RDNIS": "0140300077"},
    ],
)
def test_whoever_a_called_customer_was_transferred_to_is_the_agent(parent: dict[str, str]) -> None:
    """`originate sofia/gateway/carrier/0140300077 1001 XML default`: the customer's channel has gone to 1001 by now."""
    switch, placed = Switch(), {"Call-Direction": "outbound", "Caller-Destination-Number": "1001"}
    customer = times(0, 5, 60, "NORMAL_CLEARING") | {
        "Unique-ID": CUSTOMER,
        "variable_sip_gateway_name": "carrier",
        "variable_sip_to_user": "0140300077",
    }
    agent = times(5, 9, 60, "NORMAL_CLEARING") | {
        "Unique-ID": TARGET,
        "variable_originating_leg_uuid": CUSTOMER,
        "variable_dialed_user": "1001",
        "Other-Leg-Direction": "outbound",
        "Other-Leg-Source": ORIGINATED,
        "Other-Leg-Destination-Number": "1001",
    }
    events = [placed | customer, placed | agent | parent]
    call = fold([updated(switch.event("CHANNEL_HANGUP_COMPLETE", each, at=60), region="FR") for each in events])
    assert [(leg.role, leg.number) for leg in call.legs] == [(Role.CUSTOMER, "0140300077"), (Role.AGENT, "1001")]
    assert (call.agent_extension, call.answered_at, call.talk_seconds) == ("1001", Switch.moment(9), 51)
    # Of a customer whom the agent of a click to call transferred, the colleague's channel is all that bears this key.
    alone = fold([updated(switch.event("CHANNEL_HANGUP_COMPLETE", events[1], at=60), region="FR")])
    assert (call.opened, alone.opened) == (True, False)


@pytest.mark.parametrize("mode", ["queue", "all"])
def test_an_agent_behind_a_loopback_makes_no_second_call(mode: str) -> None:
    """`loopback/1001/default`: both sides bear the queue's variables, the telephone's channel names the inner one."""
    it, inner = QueueCall(), "b-side"
    it.start()
    it.offering(2)
    loopback = {"Caller-Source": "mod_loopback", "Caller-Destination-Number": "1001"}
    sides = {
        AGENT_CHANNEL: loopback | {"variable_channel_name": "loopback/1001-a"},
        inner: loopback | {"variable_channel_name": "loopback/1001-b", "Call-Direction": "inbound"},
    }
    told: list[tuple[str, float | None, float | None, str]] = [
        ("CHANNEL_CREATE", None, None, ""),
        ("CHANNEL_HANGUP_COMPLETE", 5, 60, "NORMAL_CLEARING"),
    ]
    for name, answered, gone, cause in told:
        for uuid, more in sides.items():
            of_agent(it, name, uuid, "", created=2, answered=answered, gone=gone, cause=cause, more=more)
        telephone = times(2.1, answered, gone, cause) | {
            "Unique-ID": TARGET,
            "Call-Direction": "outbound",
            "Caller-Source": "mod_loopback",
            "Other-Leg-Direction": "inbound",
            "variable_originating_leg_uuid": inner,
            "variable_dialed_user": "1001",
        }
        it.bodies.append(it.switch.event(name, telephone, at=gone or 2.1))
    talked(it, answered=5, until=60)
    it.hangup(60)
    said = [update for update in (decoded(body, calls=mode) for body in it.bodies) if isinstance(update, CallUpdate)]
    assert {update.call_key for update in said if update.opens} == {SESSION}
    call = fold([update for update in said if update.call_key == SESSION])
    assert agents(call) == [("alice@default", Outcome.ANSWERED, "NORMAL_CLEARING")]
    assert (call.agent_extension, call.talk_seconds, set(call.attributes["agent_channels"])) == (
        "1001",
        55,
        {AGENT_CHANNEL},
    )


def test_a_caller_who_waits_in_a_queue_behind_a_loopback_is_a_call() -> None:
    said = QueueCall().channel(gone=9, cause="NORMAL_CLEARING") | {"variable_channel_name": "loopback/3000-b"}
    assert updated(Switch().event("CHANNEL_HANGUP_COMPLETE", said, at=9)).call_key == SESSION


def joined(it: QueueCall, other: str, at: float, *, number: str, user: str, data: str, until: float) -> None:
    """A bridge of the caller's channel, from its beginning to its end; `user` stays from an earlier one."""
    partner = {"Bridge-A-Unique-ID": SESSION, "Bridge-B-Unique-ID": other, "Other-Leg-Unique-ID": other}
    said = partner | {
        "Other-Leg-Direction": "outbound",
        "Other-Leg-Destination-Number": number,
        "variable_cc_agent_uuid": AGENT_CHANNEL,
        "variable_dialed_user": user,
        "variable_current_application_data": data,
    }
    bridged = {"Caller-Channel-Bridged-Time": Switch.micro(at)}
    it.bodies.append(it.switch.event("CHANNEL_BRIDGE", it.channel() | said | bridged, at=at))
    it.bodies.append(it.switch.event("CHANNEL_UNBRIDGE", it.channel() | said, at=until))


def test_everybody_to_whom_a_caller_is_transferred_behind_a_queue_is_a_leg() -> None:
    it = QueueCall()
    it.start()
    talked(it, answered=5, until=30)
    joined(it, AGENT_CHANNEL, 5, number="1001", user="", data="3000@default", until=30)
    joined(it, TARGET, 40, number="1003", user="1003", data="user/1003@192.0.2.1", until=70)
    gone_on, outside = it.call, "sofia/gateway/carrier/0140300009"
    joined(it, CUSTOMER, 80, number="0140300009", user="1003", data=outside, until=100)
    it.hangup(101, cc_member_uuid=MEMBER, cc_cause="answered", cc_agent_bridged="true")
    assert (gone_on.state, gone_on.ended_at) == (State.ANSWERED, None)
    queue, agent, *targets = it.call.legs
    assert (queue.role, agent.agent_extension, agent.talk_seconds) == (Role.QUEUE, "1001", 25)
    assert [(leg.role, leg.number, leg.agent_extension, leg.talk_seconds) for leg in targets] == [
        (Role.TRANSFER, "1003", "1003", 30),
        (Role.TRANSFER, "0140300009", None, 20),
    ]
    assert (it.call.agent_id, it.call.talk_seconds, it.call.duration_seconds) == ("alice@default", 75, 101)
    del it.bodies[-4]  # the first target's end: nobody knows how long he talked, and not until the call's end
    assert (it.call.talk_seconds, it.call.legs[2].outcome) == (45, Outcome.UNKNOWN)


def test_a_caller_outside_queues_who_is_parted_from_somebody_says_nothing() -> None:
    said = {"Unique-ID": CALLER, "Bridge-A-Unique-ID": CALLER, "Bridge-B-Unique-ID": TARGET}
    body = Switch().event("CHANNEL_UNBRIDGE", said, at=9)
    assert decoded(body, calls="all") == Ignored(why="other_event")


def test_a_supervisor_who_listens_to_a_call_has_called_nobody() -> None:
    """`originate {origination_caller_id_number=0140300009}user/1009 &eavesdrop(…)`: no customer is to be dialled."""
    switch = Switch()
    supervisor = {
        "Unique-ID": CALLER,
        "Call-Direction": "outbound",
        "Caller-Destination-Number": "1009",
        "variable_dialed_user": "1009",
        "variable_origination_caller_id_number": "0140300009",
    }
    over = times(0, 3, 60, "NORMAL_CLEARING") | {"variable_last_app": "eavesdrop", "Caller-Channel-Bridged-Time": "0"}
    events = [
        ("CHANNEL_ANSWER", supervisor | times(0, 3, None, "")),
        ("CHANNEL_HANGUP_COMPLETE", supervisor | over),
    ]
    call = fold([updated(switch.event(*event, at=60), region="FR") for event in events])
    assert (call.direction, call.disposition, call.external_number) == (Direction.INTERNAL, Disposition.IVR, None)
    assert (call.state, call.talk_seconds, call.answered_at, call.duration_seconds) == (State.ENDED, 0, None, 60)


def test_whoever_listens_to_a_mailbox_left_no_message() -> None:
    it = QueueCall()
    said = it.channel(gone=30, cause="NORMAL_CLEARING", by="recv_bye") | {
        "variable_last_app": "voicemail",
        "variable_last_arg": "check default example.org 1001",
    }
    del said["variable_cc_side"]
    call = fold([updated(it.switch.event("CHANNEL_HANGUP_COMPLETE", said, at=30), calls="all")])
    assert (call.disposition, call.direction, call.ended_by) == (Disposition.IVR, Direction.INBOUND, EndedBy.CALLER)
