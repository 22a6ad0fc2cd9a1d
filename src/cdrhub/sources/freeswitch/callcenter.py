"""`callcenter::info` events of mod_callcenter: passes through queues and the agents who were rung.

CC-*-Time values are whole seconds since 1970, UTC, rounded down, so the legs of a queue are kept in whole seconds
whoever tells of them. CC-Hangup-Cause says how the attempt to reach the agent went (`SUCCESS` whoever hung up);
`Hangup-Cause` says how the talk ended and is missing while the channel lives on. Read in `mod_callcenter.c` of
https://github.com/signalwire/freeswitch.
"""

from __future__ import annotations

from datetime import datetime

from cdrhub.model.derive import whole_seconds
from cdrhub.model.disposition import Outcome, Role, State
from cdrhub.sources.freeswitch.calls import caller_side, extension_of, who_hung_up
from cdrhub.sources.freeswitch.channel import EventChannel, in_seconds, microseconds, seconds
from cdrhub.sources.freeswitch.draft import Draft
from cdrhub.sources.freeswitch.headers import Headers
from cdrhub.sources.freeswitch.words import QUEUE_BY_CANCEL_REASON

ACTIONS = frozenset(
    {
        "member-queue-start",
        "member-queue-resume",
        "agent-offering",
        "bridge-agent-start",
        "bridge-agent-fail",
        "bridge-agent-end",
        "member-queue-end",
    }
)


def fill(draft: Draft, action: str, headers: Headers) -> None:
    """Fill the draft of a call, whose key is CC-Member-Session-UUID, with what an event of ACTIONS says."""
    get = headers.get
    member = get("CC-Member-UUID") or draft.call_key
    # Passes through queues and tries of one agent are told apart: what is said of another one contradicts nothing.
    draft.kind = f"{action}:{member}:{get('CC-Agent-Called-Time')}"
    if action.startswith("member-queue"):
        _queue_event(action, headers, member, draft)
    else:
        _member(headers, draft)
        draft.leg(member, role=Role.QUEUE, queue=get("CC-Queue"))
        _agent_event(action, headers, member, draft)


def _member(headers: Headers, draft: Draft) -> None:
    get = headers.get
    draft.party("caller", get("CC-Member-CID-Number"))
    draft.put(caller_name=get("CC-Member-CID-Name"))
    if dialled := get("CC-Member-DNIS"):
        draft.party("callee", dialled)
        draft.put(dialed_number=dialled, did=dialled)


def _queue_event(action: str, headers: Headers, member: str, draft: Draft) -> None:
    get = headers.get
    channel = EventChannel(headers)
    outbound = channel.outbound
    if not outbound:
        _member(headers, draft)
    dialled = None
    if action != "member-queue-end" and not outbound:
        dialled = get("Caller-RDNIS") or get("Caller-Destination-Number")
    caller_side(channel, draft, dialled=dialled)
    joined = seconds(get("variable_cc_queue_joined_epoch"))
    if action != "member-queue-end":
        now = in_seconds(microseconds(get("Event-Date-Timestamp")))
        # Older switches tell the entry first and then set the variable, which until then is that of an earlier queue.
        entered = max((at for at in (joined, now) if at is not None), default=None)
        draft.leg(member, role=Role.QUEUE, queue=get("CC-Queue"), offered_at=entered)
        return
    gone, reason = channel.gone, get("CC-Cancel-Reason")
    if get("CC-Cause") == "Terminated":
        outcome, answered = Outcome.ANSWERED, seconds(get("CC-Agent-Answered-Time"))
        _agent_leg(headers, member, draft, answered_at=answered, outcome=outcome)
    else:
        outcome, answered = _cancelled(reason, draft, alive=gone is None), None
        joined = seconds(get("CC-Member-Joined-Time")) or joined
    draft.leg(
        member,
        role=Role.QUEUE,
        queue=get("CC-Queue"),
        offered_at=joined,
        answered_at=answered,
        left_at=seconds(get("CC-Member-Leaving-Time")),
        outcome=outcome,
        cause=reason,
    )
    if gone is not None:
        draft.put(state=State.ENDED, ended_at=gone, cause=channel.cause)
        if not outbound:  # of a call-back the customer's channel has told
            draft.put(ended_by=who_hung_up(channel))


def _cancelled(reason: str | None, draft: Draft, *, alive: bool) -> Outcome:
    if reason is None:
        return Outcome.ABANDONED
    outcome = QUEUE_BY_CANCEL_REASON.get(reason)
    if outcome is None:
        draft.unmapped("CC-Cancel-Reason", reason)
        return Outcome.UNKNOWN
    if alive and reason == "BREAK_OUT":
        return Outcome.OVERFLOW  # the caller did not hang up: someone took the call out of the queue
    return outcome


def _agent_event(action: str, headers: Headers, member: str, draft: Draft) -> None:
    get = headers.get
    if action == "agent-offering":
        _agent_leg(headers, member, draft, offered=microseconds(get("Event-Date-Timestamp")))
    elif action == "bridge-agent-fail":
        cause = get("CC-Hangup-Cause")
        _agent_leg(
            headers,
            member,
            draft,
            left_at=seconds(get("CC-Agent-Aborted-Time")),
            outcome=draft.unanswered(cause),
            cause=cause,
        )
    else:
        bridged = get("CC-Agent-Bridged") != "false"
        _agent_leg(
            headers,
            member,
            draft,
            agent_extension=extension_of(EventChannel(headers)),
            answered_at=seconds(get("CC-Agent-Answered-Time")),
            left_at=seconds(get("CC-Bridge-Terminated-Time")),
            outcome=Outcome.ANSWERED if bridged else Outcome.NOT_BRIDGED,
            cause=get("Hangup-Cause"),
        )


def _agent_leg(
    headers: Headers, member: str, draft: Draft, *, offered: datetime | None = None, **values: object
) -> None:
    get = headers.get
    agent = get("CC-Agent")
    if agent is None:
        return
    channel = get("CC-Agent-UUID")
    called = offered or seconds(get("CC-Agent-Called-Time"))
    if called is not None and (answered := seconds(get("CC-Agent-Answered-Time"))) is not None:
        values["ring_seconds"] = whole_seconds(called, answered)  # attempts a second apart are one leg
    draft.leg(
        f"{member}/{agent}",
        attempt_at=called,
        attempt_id=channel,
        role=Role.AGENT,
        parent_leg=member,
        queue=get("CC-Queue"),
        agent_id=agent,
        offered_at=in_seconds(called),
        **values,
    )
    if channel is not None:
        draft.attributes["agent_channels"] = {channel: agent}
