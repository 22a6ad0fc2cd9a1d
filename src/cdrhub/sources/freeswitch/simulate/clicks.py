"""Calls that the switch places itself: `originate` to the agent and then the customer, or the other way round.

The job of an originate ends when its first leg answers or fails: with the agent first it is `+OK` also when the
customer is busy, and only the customer's channel tells what became of the call.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod-commands/1966741/#originate
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from cdrhub.model.disposition import Disposition
from cdrhub.sources.freeswitch.simulate import truth
from cdrhub.sources.freeswitch.simulate.channels import Channel, Identities
from cdrhub.sources.freeswitch.simulate.scene import ANSWERS, ENDS, RINGS, Scene
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.planned import PlannedCall, Side

ORIGINATE_TIMEOUT: Final = 60  #: seconds that an originate lets the first phone ring

#: Of a customer who was not reached: the recording with the same headers, the cause, how his phone's dialogue ended.
UNREACHED: Final = {
    Disposition.NO_ANSWER: ("no_answer", "NO_ANSWER", "send_cancel"),
    Disposition.CANCELLED: ("no_answer", "ORIGINATOR_CANCEL", "send_cancel"),
    Disposition.BUSY: ("busy", "USER_BUSY", "recv_refuse"),
    Disposition.FAILED: ("busy", "UNALLOCATED_NUMBER", "recv_refuse"),
    Disposition.REJECTED: ("rejected", "CALL_REJECTED", "recv_refuse"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A `bgapi` command under way."""

    uuid: str
    arguments: str
    command: str = "originate"

    def fields(self, result: str) -> dict[str, str]:
        """The placeholders of its BACKGROUND_JOB, whose body is `result`."""
        return {
            "job.uuid": self.uuid,
            "job.command": self.command,
            "job.arguments": self.arguments,
            "job.length": str(len(result.encode())),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Click:
    """A call to place: who is dialled, and what becomes of it. Times are aware.

    `disposition` is answered, not_dialled (the agent did not answer), abandoned (customer first, and no agent came) or
    a key of UNREACHED. `joined_at` is when both were on the line, `second_at` when the second phone was dialled,
    `hung_up` by whom a talk was ended: the caller is the agent.
    """

    uuid: str
    job: Job
    extension: str
    agent_name: str
    customer: str
    shown: str  #: the number that the customer sees
    disposition: Disposition
    started_at: datetime
    ended_at: datetime
    rings: bool = True  #: whether the customer's phone did
    picked_up_at: datetime | None = None  #: the first phone
    second_at: datetime | None = None
    joined_at: datetime | None = None
    hung_up: Side = Side.SYSTEM
    killed: str | None = None  #: the cause with which a command ended it


def killed(click: Click, *, at: datetime, cause: str, agent_first: bool) -> Click:
    """The call of `click` that a command (`uuid_kill`) ends at `at`: what has not happened by then does not happen."""
    picked_up, joined = _if_by(at, click.picked_up_at), _if_by(at, click.joined_at)
    if joined is not None:
        disposition = Disposition.ANSWERED
    elif agent_first:
        disposition = Disposition.NOT_DIALLED if picked_up is None else Disposition.CANCELLED
    else:
        disposition = Disposition.CANCELLED if picked_up is None else Disposition.ABANDONED
    rung = picked_up is not None and (agent_first or click.joined_at is not None)
    return replace(
        click,
        disposition=disposition,
        picked_up_at=picked_up,
        second_at=click.second_at if rung else None,
        joined_at=joined,
        ended_at=at,
        hung_up=Side.SYSTEM,
        killed=cause,
    )


def _if_by(at: datetime, moment: datetime | None) -> datetime | None:
    return moment if moment is not None and moment <= at else None


def agent_first(call: PlannedCall, *, identities: Identities, zone: tzinfo) -> tuple[Scene, Entry]:
    """A planned call of an agent to a customer: the agent clicks, his phone is picked up within a second."""
    agent, customer = call.caller, call.customer
    if agent is None or customer is None:
        raise ValueError(f"call {call.number} of the plan is outbound, and does not say whose or to whom")
    dialled_at = call.started_at + timedelta(seconds=1)
    uuid = identities.uuid()
    click = Click(
        uuid=uuid,
        job=Job(
            uuid=identities.uuid(),
            arguments=f"{{origination_uuid={uuid},origination_caller_id_number={customer.dialled},"
            f"ignore_early_media=true,originate_timeout={ORIGINATE_TIMEOUT}}}user/{agent.extension}@127.0.0.1 "
            f"{customer.dialled} XML default",
        ),
        extension=agent.extension,
        agent_name=agent.name,
        customer=customer.dialled,
        shown=customer.dialled,
        disposition=call.disposition,
        started_at=call.started_at,
        picked_up_at=dialled_at,
        second_at=dialled_at,
        joined_at=call.answered_at,
        ended_at=call.ended_at,
        rings=call.ringing_at is not None,
        hung_up=call.hung_up,
    )
    return agent_click(click, identities=identities, zone=zone)


def customer_first(call: PlannedCall, *, identities: Identities, zone: tzinfo) -> tuple[Scene, Entry]:
    """A planned call of a campaign. The switch cannot tell an answering machine from a customer."""
    customer = call.customer
    if customer is None:
        raise ValueError(f"call {call.number} of the plan is a campaign's, and does not say to whom")
    agent = call.attempts[0].agent if call.attempts else None
    uuid = identities.uuid()
    disposition = Disposition.ABANDONED if call.disposition is Disposition.VOICEMAIL else call.disposition
    then = f"&bridge(user/{agent.extension}@127.0.0.1)" if agent else "&park()"
    click = Click(
        uuid=uuid,
        job=Job(
            uuid=identities.uuid(),
            arguments=f"{{origination_uuid={uuid},origination_caller_id_number={call.line.dialled},"
            f"ignore_early_media=true,originate_timeout={ORIGINATE_TIMEOUT}}}sofia/gateway/carrier/{customer.dialled} "
            f"{then}",
        ),
        extension=agent.extension if agent else "",
        agent_name=agent.name if agent else "",
        customer=customer.dialled,
        shown=call.line.dialled,
        disposition=disposition,
        started_at=call.started_at,
        picked_up_at=call.connected_at,
        second_at=call.attempts[0].offered_at if call.attempts else None,
        joined_at=call.answered_at,
        ended_at=call.ended_at,
        rings=call.ringing_at is not None,
        hung_up=call.hung_up,
    )
    return customer_click(click, identities=identities, zone=zone)


def agent_click(click: Click, *, identities: Identities, zone: tzinfo) -> tuple[Scene, Entry]:
    """The agent's phone rings first, and the customer is dialled once it was picked up."""
    answered = click.joined_at is not None
    shape, cause, refused = UNREACHED.get(click.disposition, ("answered", "NORMAL_CLEARING", "send_bye"))
    if answered and click.hung_up is Side.CALLEE:
        refused = "recv_bye"
    alone = click.disposition is Disposition.NOT_DIALLED
    cause = click.killed or cause
    agent = Channel(
        uuid=click.uuid,
        number=click.extension,
        name=click.agent_name,
        created_at=click.started_at,
        profile_at=click.second_at,
        progress_at=click.started_at,
        answered_at=None if alone else click.picked_up_at,
        bridged_at=click.joined_at,
        gone_at=click.ended_at,
        cause=click.killed or "NO_ANSWER" if alone else cause,
        hung_up="send_cancel" if alone else "recv_bye" if answered and click.hung_up is Side.CALLER else "send_bye",
        session=identities.session(),
        inside=True,
    )
    scene, result = _scene(click, agent, identities=identities, zone=zone)
    scene.add(click.started_at, RINGS, "agent_first.answered.call.create", "agent_first.answered.call.progress")
    if click.second_at is None or agent.answered_at is None:
        _job(scene, click, click.ended_at, f"-ERR {agent.cause}\n")
        scene.add(click.ended_at, ENDS, "agent_first.not_dialled.call.gone")
        return scene, truth.of_click(click, first=agent, second=None)
    customer = Channel(
        uuid=identities.uuid(),
        number=click.customer,
        created_at=click.second_at,
        progress_at=click.second_at if click.rings else None,
        answered_at=click.joined_at,
        bridged_at=click.joined_at,
        gone_at=click.ended_at,
        cause=cause,
        hung_up=refused,
        session=identities.session(),
    )
    leg = customer.fields("leg", zone=zone)
    scene.add(agent.answered_at, ANSWERS, "agent_first.answered.call.answer")
    _job(scene, click, agent.answered_at, result)
    _second(scene, "agent_first", shape, customer, leg)
    return scene, truth.of_click(click, first=agent, second=customer)


def customer_click(click: Click, *, identities: Identities, zone: tzinfo) -> tuple[Scene, Entry]:
    """The customer's phone rings first, and an agent is rung once it was picked up."""
    shape, cause, refused = UNREACHED.get(click.disposition, ("answered", "NORMAL_CLEARING", "send_bye"))
    answered = click.joined_at is not None
    if answered and click.hung_up is Side.CALLEE:
        refused = "recv_bye"
    cause = click.killed or cause
    if click.disposition is Disposition.ABANDONED:
        refused = "recv_bye" if click.hung_up is Side.CALLEE else "send_bye"
    customer = Channel(
        uuid=click.uuid,
        number=click.customer,
        created_at=click.started_at,
        progress_at=click.started_at if click.rings else None,
        answered_at=click.picked_up_at,
        bridged_at=click.joined_at,
        gone_at=click.ended_at,
        cause=cause,
        hung_up=refused,
        session=identities.session(),
    )
    scene, result = _scene(click, customer, identities=identities, zone=zone)
    scene.add(click.started_at, RINGS, "customer_first.answered.call.create")
    if customer.progress_at is not None:
        scene.add(customer.progress_at, RINGS, "customer_first.answered.call.progress")
    if customer.answered_at is None:
        scene.add(click.ended_at, ENDS, f"customer_first.{shape}.call.gone")
        _job(scene, click, click.ended_at, f"-ERR {cause}\n")
        return scene, truth.of_click(click, first=customer, second=None)
    scene.add(customer.answered_at, ANSWERS, "customer_first.answered.call.answer")
    _job(scene, click, customer.answered_at, result)
    if click.second_at is None or (click.joined_at is None and click.killed is None):
        scene.add(click.ended_at, ENDS, "customer_first.unjoined.call.gone")
        return scene, truth.of_click(click, first=customer, second=None)
    agent = Channel(
        uuid=identities.uuid(),
        number=click.extension,
        name=click.agent_name,
        created_at=click.second_at,
        progress_at=click.second_at,
        answered_at=click.joined_at,
        bridged_at=click.joined_at,
        gone_at=click.ended_at,
        cause=click.killed or "NORMAL_CLEARING",
        hung_up="recv_bye" if click.hung_up is Side.CALLER else "send_bye" if click.joined_at else "send_cancel",
        session=identities.session(),
        inside=True,
    )
    ends = () if click.joined_at else ("customer_first.answered.leg.gone", "customer_first.unjoined.call.gone")
    _second(scene, "customer_first", "answered", agent, agent.fields("leg", zone=zone), ends=ends)
    return scene, truth.of_click(click, first=customer, second=agent)


def _scene(click: Click, first: Channel, *, identities: Identities, zone: tzinfo) -> tuple[Scene, str]:
    fields = {
        **first.fields("call", zone=zone),
        "leg.number": click.customer if first.inside else click.extension,
        "shown.number": click.shown,
        "shown.name": click.shown,
        "originate_timeout": str(ORIGINATE_TIMEOUT),
        "transfer": identities.uuid(),
    }
    return Scene(fields), f"+OK {first.uuid}\n"


def _job(scene: Scene, click: Click, at: datetime, result: str) -> None:
    scene.add(at, ENDS, "job", fields=click.job.fields(result), body=result)


def _second(
    scene: Scene, way: str, shape: str, second: Channel, leg: dict[str, str], *, ends: tuple[str, ...] = ()
) -> None:
    """The phone that is dialled when the first one was picked up, and the end of both, by the shapes `ends` if any."""
    scene.add(second.created_at, ENDS, f"{way}.answered.leg.create", fields=leg)
    if second.progress_at is not None:
        scene.add(second.progress_at, ENDS, f"{way}.answered.leg.progress", fields=leg)
    if second.answered_at is not None:
        scene.add(second.answered_at, ENDS, f"{way}.answered.leg.answer", f"{way}.answered.call.bridge", fields=leg)
    ends = ends or (f"{way}.{shape}.leg.gone", f"{way}.{shape}.call.gone")
    scene.add(second.gone_at, ENDS, *ends, fields=leg)
