"""What the hub must show of a simulated call: the columns of `calls` that a FreeSWITCH lets it know.

The definitions are those of docs/model.md. mod_callcenter cuts its times to whole seconds, so the times of queues and
of their agents are cut here; those of channels are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.sources.freeswitch.simulate.channels import Channel
from cdrhub.sources.freeswitch.simulate.names import agent_name
from cdrhub.sources.simulation.ledger import Entry, Expected, Person
from cdrhub.sources.simulation.planned import PlannedCall, Side, TransferKind, seconds, to_second

if TYPE_CHECKING:
    from cdrhub.sources.freeswitch.simulate.clicks import Click

SYSTEM = "freeswitch"


def of_queue(call: PlannedCall, *, channel: Channel, queue: str) -> Entry:
    """A call through a queue, which it left answered or not. Its channel may live on after that."""
    answer, joined, moved = call.answer, call.queued_at or call.started_at, call.transfer
    talk, ring = 0, None
    if answer is not None and call.answered_at is not None:
        ring = seconds(answer.offered_at, answer.until)
        talk = seconds(call.answered_at, call.ended_at)
        if moved is not None and moved.kind is TransferKind.BLIND:
            talk -= seconds(moved.at, moved.answered_at)
    people = [
        Person(role=Role.AGENT, agent_id=agent_name(attempt.agent), outcome=attempt.outcome)
        for attempt in call.attempts
    ]
    if moved is not None:
        people.append(Person(role=Role.TRANSFER, agent_id=None, outcome=Outcome.ANSWERED))
    columns: dict[str, Expected] = {
        **_ends(channel),
        **_numbers(channel.number, call.line.e164),
        "direction": Direction.INBOUND,
        "disposition": Disposition.ANSWERED if answer else Disposition.ABANDONED,
        "cause": channel.cause,
        "ended_by": _ended_by(channel),
        "did": call.line.e164,
        "queue": queue,
        "agent_id": agent_name(answer.agent) if answer else None,
        "agent_extension": answer.agent.extension if answer else None,
        "connected_at": channel.answered_at,
        "queued_at": to_second(joined),
        "answered_at": to_second(call.answered_at),
        "wait_seconds": seconds(joined, call.answered_at or call.ended_at),
        "ring_seconds": ring,
        "talk_seconds": talk,
    }
    return Entry(system=SYSTEM, call_key=channel.uuid, columns=columns, people=tuple(people))


def of_menu(call: PlannedCall, *, channel: Channel) -> Entry:
    """A call that ended in an announcement."""
    columns: dict[str, Expected] = {
        **_ends(channel),
        **_numbers(channel.number, call.line.e164),
        "direction": Direction.INBOUND,
        "disposition": Disposition.IVR,
        "cause": channel.cause,
        "ended_by": _ended_by(channel),
        "agent_extension": None,
        "queue": None,
        "connected_at": channel.answered_at,
        "answered_at": None,
        "talk_seconds": 0,
    }
    return Entry(system=SYSTEM, call_key=channel.uuid, columns=columns, people=())


def of_direct(*, caller: Channel, dialled: str, leg: Channel, disposition: Disposition) -> Entry:
    """A call that went past every queue, from outside or from inside, to one phone."""
    answered = leg.answered_at
    outcome = {"NO_ANSWER": Outcome.NO_ANSWER, "USER_BUSY": Outcome.BUSY, "CALL_REJECTED": Outcome.REJECTED}
    columns: dict[str, Expected] = {
        **_ends(caller),
        **_numbers(caller.number, dialled),
        "direction": Direction.INTERNAL if caller.inside else Direction.INBOUND,
        "disposition": disposition,
        "cause": caller.cause,
        "ended_by": _ended_by(caller),
        "agent_extension": leg.number if answered else None,
        "queue": None,
        "answered_at": answered,
        "wait_seconds": None,
        "ring_seconds": seconds(leg.created_at, answered or leg.gone_at),
        "talk_seconds": seconds(answered, caller.gone_at) if answered else 0,
    }
    said = Outcome.ANSWERED if answered else outcome.get(leg.cause, Outcome.CANCELLED)
    people = (Person(role=Role.AGENT, agent_id=None, outcome=said),)
    return Entry(system=SYSTEM, call_key=caller.uuid, columns=columns, people=people)


def of_click(click: Click, *, first: Channel, second: Channel | None) -> Entry:
    """A call that the switch placed: `first` and `second` are the two channels in the order in which they rang."""
    agent_first = first.inside
    customer = second if agent_first else first
    agent = first if agent_first else second
    rung = customer or first
    answered = click.joined_at
    columns: dict[str, Expected] = {
        "state": State.ENDED,
        "direction": Direction.OUTBOUND,
        "disposition": click.disposition,
        "callee_number": click.customer,
        "dialed_number": click.customer if customer else None,
        "agent_extension": agent.number if agent else None,
        "started_at": rung.created_at,
        "answered_at": answered,
        "ended_at": rung.gone_at,
        "wait_seconds": None,
        "ring_seconds": seconds(rung.created_at, rung.answered_at or rung.gone_at) if customer else None,
        "talk_seconds": seconds(answered, rung.gone_at) if answered else 0,
        "duration_seconds": seconds(rung.created_at, rung.gone_at),
        "cause": rung.cause,
    }
    if answered:
        columns["ended_by"] = EndedBy.CALLEE if click.hung_up is Side.CALLEE else EndedBy.AGENT
    picked_up = agent is not None and agent.answered_at is not None
    alone = Outcome.NOT_BRIDGED if picked_up else Outcome.CANCELLED if click.killed else Outcome.NO_ANSWER
    outcome = Outcome.ANSWERED if answered else alone
    people = (Person(role=Role.AGENT, agent_id=None, outcome=outcome),) if agent else ()
    return Entry(system=SYSTEM, call_key=click.uuid, columns=columns, people=people)


def _ends(channel: Channel) -> dict[str, Expected]:
    return {
        "state": State.ENDED,
        "started_at": channel.created_at,
        "ended_at": channel.gone_at,
        "duration_seconds": seconds(channel.created_at, channel.gone_at),
    }


def _numbers(caller: str, callee: str) -> dict[str, Expected]:
    return {"caller_number": caller, "callee_number": callee, "dialed_number": callee}


def _ended_by(channel: Channel) -> EndedBy | None:
    match channel.hung_up:
        case "recv_bye" | "recv_cancel":
            return EndedBy.CALLER
        case "send_bye":
            return EndedBy.AGENT if channel.bridged_at else EndedBy.SYSTEM
        case _:
            return None
