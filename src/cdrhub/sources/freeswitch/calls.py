"""Channels as parts of calls: to which call a channel belongs, and what it says of the call.

A call is the channel of its caller; every other channel is a leg of it. `CHANNEL_*` events and CDR documents name
the caller's channel in `cc_member_session_uuid` (an agent of a queue), else `originating_leg_uuid` or `originator`,
else the call's uuid. Who waits in a queue is a call, whoever placed the channel. A channel that the switch placed by
itself is a click to call: its first channel is the call, and the customer's channel decides whether the call came first
to the agent or to the customer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.numbers import NumberPlan
from cdrhub.model.update import Authority
from cdrhub.sources.digits import whole
from cdrhub.sources.freeswitch.channel import Channel, in_seconds, seconds
from cdrhub.sources.freeswitch.draft import Draft
from cdrhub.sources.freeswitch.words import DISPOSITION_BY_OUTCOME, QUEUE_BY_CANCEL_REASON

LISTENING = frozenset({"eavesdrop", "userspy"})  #: applications by which a supervisor listens to somebody else's call

#: The leg of a click to call that is the customer's, whichever channel turns out to be it.
CUSTOMER = "customer"

_MOMENT = timedelta(seconds=1)  #: in which the queue notices that a caller hung up
_SECONDS_DIGITS = 9  #: of a span in seconds
LOOPBACK = "mod_loopback"  #: the `source` of both sides of a loopback, and of whatever is dialled behind it
#: `cc_agent_type` of an agent who waits on the line, call after call; `callback`, of one who is rung, is the other one.
STANDBY = "uuid-standby"


def call_of(channel: Channel) -> str | None:
    """The uuid of the call that a channel belongs to; None where it names no channel at all.

    `call_uuid` is no help: it names whoever was joined to this channel last, after an attended transfer, a pick-up or
    `uuid_bridge` the channel of another call.
    """
    if in_queue(channel):
        return channel.uuid
    parent = channel.variable("cc_member_session_uuid") or _parent(channel)
    return parent or (channel.call_uuid if channel.outbound else None) or channel.uuid


def in_queue(channel: Channel) -> bool:
    """Whether it is the channel of somebody who waits in a queue, or did."""
    return channel.variable("cc_side") == "member"


def of_interest(channel: Channel) -> bool:
    """Whether a channel belongs to a queue call or to a click to call, as far as it says itself."""
    if channel.variable("cc_side") or channel.variable("cc_member_uuid") or channel.variable("cc_member_session_uuid"):
        return True
    return channel.outbound and (_parent(channel) is None or channel.parent_originated)


def read_channel(channel: Channel, call_key: str, source: str, plan: NumberPlan, *, document: bool) -> Draft:
    """What a channel says, in an event called `source` or in a CDR `document`."""
    side = channel.variable("cc_side")
    if side == "agent" or (
        side is None and channel.variable("cc_member_session_uuid") and channel.variable("cc_agent")
    ):
        draft = Draft(call_key, f"{source}:agent:{channel.uuid}", plan)
        _queue_agent(channel, draft)
    elif channel.uuid == call_key:
        draft = Draft(call_key, f"{source}:caller", plan)
        caller_side(channel, draft, dialled=channel.dialled)
        if channel.outbound:
            _one_try(channel, draft)
        draft.final = document
        if channel.partner is not None and in_queue(channel):
            _transferred(channel, channel.partner, draft)
        if channel.gone is not None:
            _caller_gone(channel, draft)
    else:
        draft = Draft(call_key, f"{source}:leg:{channel.uuid}", plan)
        _dialled_leg(channel, draft)
    return draft


def _one_try(channel: Channel, draft: Draft) -> None:
    """With `originate_retries` and `|` several channels may have the `origination_uuid` of a click to call, one after
    the other: they do not contradict each other, and the one that was answered decides."""
    draft.kind += f":{channel.created}"
    if channel.gone is not None and channel.answered is None:
        draft.authority = Authority(draft.authority - 1)


def who_hung_up(channel: Channel) -> EndedBy | None:
    """Who ended the call, by the SIP side of the caller's channel; None where it does not tell."""
    word = channel.variable("sip_hangup_disposition")
    if word in ("recv_bye", "recv_cancel"):
        return EndedBy.CALLER
    if word == "send_bye":
        return EndedBy.AGENT if channel.bridged else EndedBy.SYSTEM
    return None


def _parent(channel: Channel) -> str | None:
    return channel.variable("originating_leg_uuid") or channel.variable("originator")


def caller_side(channel: Channel, draft: Draft, *, dialled: str | None) -> None:
    """What the caller's channel says of the call from its first moment on."""
    draft.put(started_at=channel.created, connected_at=channel.answered)
    if channel.outbound:
        _click_to_call(channel, draft)
        return
    number = draft.values.get("caller_number") or channel.caller_number
    if "caller_number" not in draft.values:
        draft.party("caller", number)
        draft.put(caller_name=channel.caller_name)
    if dialled is not None and "callee_number" not in draft.values:
        draft.party("callee", dialled)
        draft.put(dialed_number=dialled)
    put_direction(draft, caller=number)


def put_direction(draft: Draft, *, caller: str | None) -> None:
    """Say the direction of a call that `caller` placed to the number that was dialled, as far as that is known."""
    target = draft.values.get("dialed_number")
    if target is None:
        return
    if not draft.inside(caller):
        draft.put(direction=Direction.INBOUND, did=target)
    elif draft.inside(target):
        draft.put(direction=Direction.INTERNAL)
    else:
        draft.put(direction=Direction.OUTBOUND, agent_extension=caller)


def _click_to_call(channel: Channel, draft: Draft) -> None:
    """The first channel of a click to call: the customer's if it went through a gateway, the agent's if it rang a
    user of ours, else by its number."""
    draft.put(direction=Direction.OUTBOUND)
    if channel.variable("sip_gateway_name") is not None:
        customer = True
    elif channel.variable("dialed_user") is not None:
        customer = False
    else:
        customer = not draft.inside(channel.variable("sip_to_user") or channel.dialled)
    if customer:
        number = channel.variable("sip_to_user") or channel.dialled
        shown = channel.variable("origination_caller_id_number")
        _customer(channel, draft, number=number, shown=shown)
        return
    extension = channel.variable("dialed_user") or channel.variable("sip_to_user") or channel.dialled
    # The customer is shown to the agent while his phone rings; the customer's own channel outranks this.
    draft.party("callee", channel.variable("origination_caller_id_number"))
    draft.leg(CUSTOMER, role=Role.CUSTOMER)
    _person(channel, draft, role=Role.AGENT, number=extension, agent_extension=extension)


def _customer(channel: Channel, draft: Draft, *, number: str | None, shown: str | None) -> None:
    """The customer's channel of a click to call: its record decides."""
    draft.authority = Authority.DECISIVE
    draft.party("callee", number)
    draft.party("caller", shown)
    draft.put(dialed_number=number, started_at=channel.created)
    gone, answered = channel.gone, channel.answered
    outcome = None
    if gone is not None:
        if answered is None:
            outcome = draft.unanswered(channel.cause)
        else:
            outcome = Outcome.ANSWERED if channel.bridged else Outcome.NOT_BRIDGED
        word = channel.variable("sip_hangup_disposition")
        by = None
        if word in ("recv_bye", "recv_refuse"):
            by = EndedBy.CALLEE
        elif word == "send_bye":
            by = EndedBy.AGENT if channel.bridged else EndedBy.SYSTEM
        elif word == "send_cancel":
            by = EndedBy.SYSTEM
        draft.put(ended_at=gone)
        if (
            answered is not None or _parent(channel) is None
        ):  # else another gateway may be tried for the agent who waits
            draft.put(state=State.ENDED, cause=channel.cause, ended_by=by)
    elif answered is not None:
        outcome = Outcome.ANSWERED
    draft.leg(
        CUSTOMER,
        attempt_at=channel.created,
        attempt_id=channel.uuid if channel.uuid != draft.call_key else None,  # which every try of the first channel has
        role=Role.CUSTOMER,
        number=number,
        offered_at=channel.created,
        answered_at=answered,
        left_at=gone,
        outcome=outcome,
        cause=channel.cause,
    )


def _person(
    channel: Channel, draft: Draft, *, role: Role, number: str | None, agent_extension: str | None = None
) -> None:
    """A leg of its own channel: one who was rung, and perhaps answered."""
    gone, answered = channel.gone, channel.answered
    outcome = None
    if answered is not None:
        outcome = Outcome.ANSWERED
    elif gone is not None:
        outcome = draft.unanswered(channel.cause)
    draft.leg(
        channel.uuid or draft.call_key,
        attempt_at=channel.created,
        role=role,
        number=number,
        agent_extension=agent_extension,
        offered_at=channel.created,
        answered_at=answered,
        left_at=gone,
        hold_seconds=_held(channel),
        outcome=outcome,
        cause=channel.cause,
    )


def _dialled_leg(channel: Channel, draft: Draft) -> None:
    """A channel that another channel of the call asked for. One that a loopback asked for names its inner side, which
    is no call, and so opens none."""
    draft.opens = channel.source != LOOPBACK
    number = channel.variable("sip_to_user") or channel.destination
    user = channel.variable("dialed_user")
    outside = channel.variable("sip_gateway_name") is not None or (user is None and not draft.inside(number))
    if channel.parent_originated:
        if outside or draft.inside(channel.parent_number):
            _customer(channel, draft, number=number, shown=channel.caller_number)
        else:
            # The customer's own channel does; one whom the agent transferred is in the agent's call.
            draft.opens = False
            _person(channel, draft, role=Role.AGENT, number=number, agent_extension=user or number)
    elif not outside:
        _person(channel, draft, role=Role.AGENT, number=number, agent_extension=user or number)
    elif draft.inside(channel.caller_number):
        _person(channel, draft, role=Role.CUSTOMER, number=number)
    else:
        _person(channel, draft, role=Role.TRANSFER, number=number)


def _queue_agent(channel: Channel, draft: Draft) -> None:
    """An agent's channel that a queue placed. Whether he got the caller, the queue says, or the end of the channel. Of
    several telephones of his, one that did not answer yields to the one that did."""
    member, agent = channel.variable("cc_member_uuid"), channel.variable("cc_agent")
    if member is None or agent is None:
        return
    who: dict[str, Any] = {
        "role": Role.AGENT,
        "parent_leg": member,
        "queue": channel.variable("cc_queue"),
        "agent_id": agent,
        "agent_extension": extension_of(channel),
    }
    draft.leg(member, role=Role.QUEUE, queue=who["queue"])
    if (channel.variable("cc_agent_type") or "").lower() == STANDBY:
        draft.leg(f"{member}/{agent}", **who)  # its times and its cause are those of a whole shift
        return
    gone, answered = channel.gone, channel.answered
    outcome = None
    if answered is None:
        draft.authority = Authority.PROVISIONAL
    if gone is not None:
        bridged = channel.variable("cc_agent_bridged")
        if answered is None:
            outcome = draft.unanswered(channel.cause)
        elif channel.cause in ("LOSE_RACE", "PICKED_OFF"):
            outcome = Outcome.LOST_RACE
        elif bridged == "false":
            outcome = Outcome.NOT_BRIDGED
        elif bridged == "true" or channel.bridged:
            outcome = Outcome.ANSWERED
    draft.leg(
        f"{member}/{agent}",
        attempt_at=channel.created,
        attempt_id=channel.uuid,
        **who,
        offered_at=in_seconds(channel.created),
        answered_at=in_seconds(answered),
        left_at=in_seconds(gone),
        hold_seconds=_held(channel),
        outcome=outcome,
        cause=channel.cause,
    )
    if channel.uuid is not None:
        draft.attributes["agent_channels"] = {channel.uuid: agent}


def extension_of(channel: Channel) -> str | None:
    """The extension of an agent's channel: the user who was dialled, or who called in and waits (STANDBY)."""
    if (user := channel.variable("dialed_user")) is not None:
        return user
    if channel.outbound:
        return channel.destination
    return channel.variable("user_name") or channel.variable("sip_from_user")


def _caller_gone(channel: Channel, draft: Draft) -> None:
    """The end of the caller's channel, with all that it remembers of the call."""
    draft.put(state=State.ENDED, ended_at=channel.gone, cause=channel.cause)
    _vendor_seconds(channel, draft)
    if recording := channel.variable("cc_record_filename"):
        draft.put(recording_url=recording)
    _voicemail(channel, draft)
    queued = in_queue(channel)
    if queued:
        _last_pass(channel, draft)
    if channel.outbound:
        _click_to_call_gone(channel, draft)
        return
    draft.put(ended_by=_by_direction(who_hung_up(channel), draft))
    other = _joined_last(channel)
    if other is not None and channel.bridged is not None and other != channel.variable("cc_agent_uuid"):
        number, extension = _reached(channel, other, draft)
        direction = None if queued else draft.values.get("direction")
        role = Role.TRANSFER if queued else Role.AGENT
        if direction == Direction.OUTBOUND:
            role = Role.CUSTOMER
        ours = direction in (Direction.OUTBOUND, Direction.INTERNAL)
        draft.leg(
            other,
            role=role,
            number=number or channel.destination,
            agent_extension=extension if role != Role.CUSTOMER else None,
            answered_at=channel.bridged,
            # Where the dialplan went on with the caller (a survey), his end is not the other side's.
            left_at=channel.gone if channel.variable("last_app") in (None, "bridge", "hangup") else None,
            hold_seconds=_held(channel) if ours else None,  # whoever called put the other side on hold
            outcome=Outcome.ANSWERED,
        )
    elif not queued:
        draft.put(disposition=_unjoined(channel, draft))


def _transferred(channel: Channel, other: str, draft: Draft) -> None:
    """Whom a caller was joined to, or parted from, behind the queue."""
    if other == channel.variable("cc_agent_uuid"):
        return  # of whom the queue tells
    number, extension = _reached(channel, other, draft)
    draft.leg(
        other,
        role=Role.TRANSFER,
        number=number,
        agent_extension=extension,
        answered_at=channel.bridged,
        left_at=channel.parted if channel.cause is None else None,  # else the end of the caller's channel is the moment
        outcome=Outcome.ANSWERED if channel.parted is not None else None,  # not before: its end may be missed
    )


def _reached(channel: Channel, other: str, draft: Draft) -> tuple[str | None, str | None]:
    """The number and the extension of the party that a caller was joined to. `dialed_user` is the last user of ours
    that was dialled, and stays set when an outside number is dialled after that."""
    number, user = channel.destination_of(other), channel.variable("dialed_user")
    outside = number is not None and number.removeprefix("+").isdecimal() and not draft.inside(number)
    if outside and (user is None or user not in (channel.variable("current_application_data") or "")):
        return number, None
    return user or number, user


def _voicemail(channel: Channel, draft: Draft) -> None:
    """The mailbox that took the call: mod_voicemail's, or FusionPBX's, which is a Lua script with variables of its
    own."""
    picked_up = seconds(channel.variable("voicemail_answer_epoch"))
    listened = "check" in (channel.variable("last_arg") or "").split()[:2]  # to the messages, and left none
    if (channel.variable("last_app") == "voicemail" and not listened) or picked_up is not None:
        left = channel.variable("voicemail_message_len") or channel.variable("voicemail_message_seconds")
        outcome = Outcome.LEFT if left else Outcome.ANSWERED
        draft.leg("voicemail", role=Role.VOICEMAIL, answered_at=picked_up, outcome=outcome)


def _by_direction(by: EndedBy | None, draft: Draft) -> EndedBy | None:
    """On a call that one of ours placed, the caller's side is the agent's, and the other one the callee's."""
    if by is None or draft.values.get("direction") != Direction.OUTBOUND:
        return by
    return {EndedBy.CALLER: EndedBy.AGENT, EndedBy.AGENT: EndedBy.CALLEE}.get(by, by)


def _unjoined(channel: Channel, draft: Draft) -> Disposition:
    """The disposition of a caller's channel outside queues that was joined to nobody."""
    outcome = draft.unanswered(channel.cause)
    if channel.answered is not None:
        # An extension without a telephone makes no leg, and is dialled nevertheless.
        tried = channel.variable("originate_disposition")
        if tried not in (None, "SUCCESS", "failure"):
            outcome = draft.unanswered(tried)
        elif channel.variable("originated_legs") is None:
            return Disposition.IVR
    return DISPOSITION_BY_OUTCOME.get(outcome, Disposition.UNKNOWN)


def _last_pass(channel: Channel, draft: Draft) -> None:
    """The caller's last pass through a queue, from the variables that mod_callcenter leaves on the channel."""
    member = channel.variable("cc_member_uuid")
    if member is None:
        return
    queue, agent = channel.variable("cc_queue"), channel.variable("cc_agent")
    joined = seconds(channel.variable("cc_queue_joined_epoch"))
    gone = in_seconds(channel.gone)
    word, reason = channel.variable("cc_cause"), channel.variable("cc_cancel_reason")
    answered: datetime | None = None
    if word == "answered" and channel.variable("cc_agent_bridged") != "false":
        outcome = Outcome.ANSWERED
        answered = seconds(channel.variable("cc_queue_answered_epoch"))
        ended = seconds(channel.variable("cc_queue_terminated_epoch"))
        left = ended if ended is not None and (answered is None or ended >= answered) else gone
    else:
        ended = seconds(channel.variable("cc_queue_canceled_epoch"))
        left = ended if ended is not None and (joined is None or ended >= joined) else gone
        outcome = QUEUE_BY_CANCEL_REASON.get(reason or "", Outcome.ABANDONED)
        if word == "cancel" and reason is not None and reason not in QUEUE_BY_CANCEL_REASON:
            draft.unmapped("cc_cancel_reason", reason)
            outcome = Outcome.UNKNOWN
        elif reason == "BREAK_OUT" and left is not None and gone is not None and gone - left > _MOMENT:
            outcome = Outcome.OVERFLOW  # he did not hang up: someone took the call out of the queue
    draft.leg(
        member,
        role=Role.QUEUE,
        queue=queue,
        offered_at=joined,
        answered_at=answered,
        left_at=left,
        outcome=outcome,
        cause=reason if outcome != Outcome.ANSWERED else None,
    )
    if outcome == Outcome.ANSWERED and agent is not None:
        uuid = channel.variable("cc_agent_uuid")
        draft.leg(
            f"{member}/{agent}",
            attempt_id=uuid or agent,
            role=Role.AGENT,
            parent_leg=member,
            queue=queue,
            agent_id=agent,
            agent_extension=channel.destination_of(uuid) if uuid is not None else None,
            answered_at=answered,
            left_at=left,
            outcome=Outcome.ANSWERED,
        )
        if uuid is not None:
            draft.attributes["agent_channels"] = {uuid: agent}


def _click_to_call_gone(channel: Channel, draft: Draft) -> None:
    """The end of a click to call's first channel, which remembers the channel that it asked for."""
    if channel.variable("last_app") in LISTENING:
        draft.authority = Authority.DECISIVE
        draft.put(direction=Direction.INTERNAL, disposition=Disposition.IVR)
        return
    customer_first = draft.authority == Authority.DECISIVE
    dialled = channel.variable("originated_legs")
    if customer_first or dialled is None:
        return
    # `uuid;name;number`, or `ARRAY::first|:second`; the last one decides.
    uuid, _, rest = dialled.removeprefix("ARRAY::").split("|:")[-1].partition(";")
    number = rest.rpartition(";")[2] or None
    cause = (channel.variable("originate_causes") or "").split("|:")[-1].rpartition(";")[2]
    joined = channel.bridged
    draft.leg(
        CUSTOMER,
        attempt_id=uuid,
        role=Role.CUSTOMER,
        number=number,
        answered_at=joined,
        left_at=channel.gone if joined is not None else None,
        outcome=Outcome.ANSWERED if joined is not None else draft.unanswered(cause or channel.cause),
        cause=cause if cause != "NONE" else None,
    )
    if joined is None and cause not in ("", "NONE"):
        draft.put(cause=cause)
    draft.party("callee", number)
    word = channel.variable("sip_hangup_disposition")
    if joined is not None and word in ("recv_bye", "send_bye"):
        draft.put(ended_by=EndedBy.AGENT if word == "recv_bye" else EndedBy.CALLEE)


def _joined_last(channel: Channel) -> str | None:
    return channel.variable("last_bridge_to") or channel.variable("bridge_uuid") or channel.variable("signal_bond")


def _vendor_seconds(channel: Channel, draft: Draft) -> None:
    for name in ("duration", "billsec"):
        value = whole(channel.variable(name), digits=_SECONDS_DIGITS)
        if value is not None:
            draft.attributes[name] = value


def _held(channel: Channel) -> int | None:
    return whole(channel.variable("hold_accum_seconds"), digits=_SECONDS_DIGITS) or None
