"""Planned calls as a FreeSWITCH tells of them: through a queue of mod_callcenter, past every queue, or placed by it.

Rendering is pure but for the identities that it draws and for the callers who left a queue, of whom one who soon calls
again takes up his place (`abandoned-resume-allowed`). Each call comes with what the hub must show of it. Times of the
calls are those planned: FreeSWITCH's own delays (some 20 ms between two events) are left out, so that every span is
known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal

from cdrhub.model.disposition import Disposition, Outcome
from cdrhub.sources.freeswitch.simulate import clicks, truth
from cdrhub.sources.freeswitch.simulate.channels import Channel, Identities
from cdrhub.sources.freeswitch.simulate.events import Happening, moment
from cdrhub.sources.freeswitch.simulate.names import DOMAIN, agent_name, queue_name
from cdrhub.sources.freeswitch.simulate.scene import AFTER, ANSWERS, ENDS, LOSES, RINGS, STOPS, Scene
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.planned import Attempt, Course, PlannedCall, Side, TransferKind
from cdrhub.sources.simulation.simulation import Due

RESUME_WITHIN: Final = timedelta(minutes=5)  #: a caller who left a queue and is back so soon gets his place again
ANNOUNCEMENT: Final = timedelta(seconds=3)  #: what a caller hears whom the queue gave up, before he is hung up on

#: Why an agent was not reached, and FreeSWITCH's word of how his phone's dialogue ended.
CAUSES: Final = {
    Outcome.NO_ANSWER: ("NO_ANSWER", "send_cancel"),
    Outcome.CANCELLED: ("ORIGINATOR_CANCEL", "send_cancel"),
    Outcome.LOST_RACE: ("LOSE_RACE", "send_cancel"),
    Outcome.REJECTED: ("CALL_REJECTED", "recv_refuse"),
    Outcome.BUSY: ("USER_BUSY", "recv_refuse"),
}
#: Cancel reasons of callers whom a queue gave up: mostly the longest wait, now and then a key or an empty queue.
_GIVEN_UP: Final = ("TIMEOUT", "TIMEOUT", "EXIT_WITH_KEY", "NO_AGENT_TIMEOUT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a queue that a caller left, and may take up again."""

    member: str
    joined_at: datetime
    left_at: datetime


class Calls:
    """Renders planned calls. `calls` says which of them the hub is told to take, as its setting of that name does."""

    def __init__(self, centre: Centre, *, zone: tzinfo = UTC, calls: Literal["queue", "all"]) -> None:
        self.identities = Identities(centre, "planned")
        self.zone = zone
        self._calls = calls
        self._places: dict[tuple[str, str], Place] = {}

    def render(self, call: PlannedCall) -> Iterator[Due[Happening]]:
        """All events of `call`; at the last one what the hub must show, if it takes the call."""
        for scene, entry in self._scenes(call):
            happenings = scene.happenings()
            for happening in happenings[:-1]:
                yield Due(at=happening.at, what=happening)
            yield Due(at=happenings[-1].at, what=happenings[-1], entry=entry)

    def _scenes(self, call: PlannedCall) -> Iterator[tuple[Scene, Entry | None]]:
        seen = self._calls == "all"
        match call.course:
            case Course.QUEUE:
                yield self._queue(call)
                transfer = call.transfer
                if transfer is not None and transfer.kind is TransferKind.CONSULTED:
                    scene, entry = self._consultation(call)
                    yield scene, entry if seen else None
            case Course.OUTBOUND:
                yield clicks.agent_first(call, identities=self.identities, zone=self.zone)
            case Course.CAMPAIGN:
                yield clicks.customer_first(call, identities=self.identities, zone=self.zone)
            case Course.MENU:
                scene, entry = self._menu(call)
                yield scene, entry if seen else None
            case Course.DIRECT | Course.INTERNAL:
                scene, entry = self._direct(call)
                yield scene, entry if seen else None

    def _queue(self, call: PlannedCall) -> tuple[Scene, Entry]:
        queue, customer, joined = call.queue, call.customer, call.queued_at
        if queue is None or customer is None or joined is None:
            raise ValueError(f"call {call.number} of the plan goes to a queue, and does not say which or whose")
        named = queue_name(queue)
        given_up = call.answered_at is None and call.hung_up is Side.SYSTEM
        gone = call.ended_at + ANNOUNCEMENT if given_up else call.ended_at
        place = self._resumed(customer.e164, named, call)
        member = place.member if place else self.identities.uuid()
        channel = Channel(
            uuid=self.identities.uuid(),
            number=customer.e164,
            created_at=call.started_at,
            profile_at=joined,
            answered_at=call.connected_at or joined,
            bridged_at=call.answered_at,
            gone_at=gone,
            hung_up="recv_bye" if call.hung_up is Side.CALLER else "send_bye",
            session=self.identities.session(),
        )
        scene = Scene(
            {
                **channel.fields("call", zone=self.zone),
                **moment("member.created", joined, zone=self.zone),
                **moment("member.first", place.joined_at if place else joined, zone=self.zone),
                **moment("member.gone", call.ended_at, zone=self.zone),
                "member.uuid": member,
                "queue": named,
                "queue.number": queue.number,
                "did": call.line.e164,
                "transfer": self.identities.uuid(),
            }
        )
        scene.add(call.started_at, STOPS, "caller.create")
        scene.add(channel.answered_at or joined, STOPS, "caller.answer")
        scene.add(joined, STOPS, "queue.resume" if place else "queue.start", "members.count")
        reached = [self._attempt(scene, call, attempt) for attempt in call.attempts]
        if call.answered_at is None:
            reason = _GIVEN_UP[call.number % len(_GIVEN_UP)] if given_up else "BREAK_OUT"
            self._left(scene, call, channel, reason)
            if not given_up:
                self._places[customer.e164, named] = Place(
                    member=member, joined_at=place.joined_at if place else joined, left_at=call.ended_at
                )
        else:
            (leg,) = [leg for leg in reached if leg is not None]
            self._joined(scene, call, leg)
        return scene, truth.of_queue(call, channel=channel, queue=named)

    def _resumed(self, caller: str, queue: str, call: PlannedCall) -> Place | None:
        place = self._places.pop((caller, queue), None)
        if place is None or not place.left_at < call.started_at < place.left_at + RESUME_WITHIN:
            return None
        return place

    def _attempt(self, scene: Scene, call: PlannedCall, attempt: Attempt) -> tuple[Channel, dict[str, str]] | None:
        """One ringing of one agent; his channel and its fields if he answered."""
        answered = attempt.outcome is Outcome.ANSWERED
        transfer = call.transfer
        left = call.ended_at
        if transfer is not None:
            left = transfer.joined_at if transfer.kind is TransferKind.CONSULTED else transfer.at
        cause, hung_up = ("NORMAL_CLEARING", "send_bye") if answered else CAUSES[attempt.outcome]
        if answered and call.hung_up is Side.CALLEE and transfer is None:
            hung_up = "recv_bye"
        channel = Channel(
            uuid=self.identities.uuid(),
            number=attempt.agent.extension,
            name=attempt.agent.name,
            created_at=attempt.offered_at,
            progress_at=None if attempt.outcome is Outcome.BUSY else attempt.offered_at,
            answered_at=attempt.until if answered else None,
            bridged_at=attempt.until if answered else None,
            gone_at=left if answered else attempt.until,
            cause=cause,
            hung_up=hung_up,
            session=self.identities.session(),
            inside=True,
        )
        fields = {
            **channel.fields("leg", zone=self.zone),
            **moment("agent.called", attempt.offered_at, zone=self.zone),
            **moment("agent.answered", channel.answered_at, zone=self.zone),
            **moment("agent.gone", channel.gone_at, zone=self.zone),
            "agent.id": agent_name(attempt.agent),
            "agent.state": "Receiving",
        }
        idle = fields | {"agent.state": "Waiting"}
        scene.add(attempt.offered_at, RINGS, "agent.state", "agent.offering", "agent.create", fields=fields)
        if channel.progress_at is not None:
            scene.add(attempt.offered_at, RINGS, "agent.progress", fields=fields)
        if answered:
            busy = fields | {"agent.state": "In a queue call"}
            scene.add(attempt.until, ANSWERS, "agent.answer", "bridge.start", "members.count", fields=fields)
            scene.add(attempt.until, ANSWERS, "caller.bridge", "agent.state", fields=busy)
            return channel, idle
        rank = {Outcome.LOST_RACE: LOSES, Outcome.CANCELLED: AFTER}.get(attempt.outcome, STOPS)
        scene.add(attempt.until, rank, "unanswered.agent.gone", "bridge.fail", fields=fields)
        scene.add(attempt.until, rank, "agent.state", fields=idle)
        return None

    def _left(self, scene: Scene, call: PlannedCall, channel: Channel, reason: str) -> None:
        """Nobody came: the queue's end, and the channel's, which may live on to hear an announcement."""
        fields = {"cancel_reason": reason}
        ending = "abandoned.queue.end" if reason == "BREAK_OUT" else "timeout.queue.end"
        scene.add(call.ended_at, ENDS, ending, "members.count", fields=fields)
        scene.add(channel.gone_at, ENDS, "abandoned.caller.gone", fields=fields)

    def _joined(self, scene: Scene, call: PlannedCall, leg: tuple[Channel, dict[str, str]]) -> None:
        """The end of a talk, or its transfer and then its end."""
        agent, idle = leg
        moved = call.transfer
        if moved is None:
            hung_up = "agent_hung_up" if agent.hung_up == "recv_bye" else "caller_hung_up"
            scene.add(call.ended_at, ENDS, "agent.gone", "caller.gone", fields=idle)
            scene.add(call.ended_at, AFTER, f"{hung_up}.bridge.end", f"{hung_up}.queue.end", "agent.state", fields=idle)
            return
        consulted = moved.kind is TransferKind.CONSULTED
        at = agent.gone_at
        target = Channel(
            uuid=self.identities.uuid(),
            number=moved.to.extension,
            name=moved.to.name,
            created_at=at,
            progress_at=at,
            answered_at=at if consulted else moved.answered_at,
            bridged_at=at if consulted else moved.joined_at,
            gone_at=call.ended_at,
            hung_up="recv_bye" if call.hung_up is Side.CALLEE else "send_bye",
            session=self.identities.session(),
            inside=True,
        )
        fields = {
            **idle,
            **moment("call.profile", at, zone=self.zone),
            **moment("call.progress", at, zone=self.zone),
            **moment("member.gone", at, zone=self.zone),
            **target.fields("target", zone=self.zone),
            "target.entry": moved.to.extension,
        }
        joined = fields | moment("call.bridged", target.bridged_at, zone=self.zone)
        scene.add(at, ENDS, "transfer.agent.gone", "target.create", "target.progress", fields=fields)
        scene.add(at, AFTER, "transfer.bridge.end", "transfer.queue.end", "agent.state", fields=fields)
        scene.add(target.answered_at or at, AFTER, "target.answer", "target.caller.bridge", fields=joined)
        scene.add(call.ended_at, AFTER, "target.gone", "transfer.caller.gone", fields=joined)

    def _consultation(self, call: PlannedCall) -> tuple[Scene, Entry]:
        """The agent's own call to the colleague, before the customer is given over."""
        moved, agent = call.transfer, call.agent
        if moved is None or agent is None:
            raise ValueError(f"call {call.number} of the plan was transferred by nobody")
        return self._inside(
            caller=Channel(
                uuid=self.identities.uuid(),
                number=agent.extension,
                name=agent.name,
                created_at=moved.at,
                answered_at=moved.answered_at,
                bridged_at=moved.answered_at,
                gone_at=moved.joined_at,
                hung_up="recv_bye",
                session=self.identities.session(),
                inside=True,
            ),
            dialled=moved.to.extension,
            leg=self._leg(moved.to.extension, moved.to.name, moved.at, moved.answered_at, moved.joined_at),
            disposition=Disposition.ANSWERED,
        )

    def _leg(
        self,
        number: str,
        name: str,
        created_at: datetime,
        answered_at: datetime | None,
        gone_at: datetime,
        *,
        cause: str = "NORMAL_CLEARING",
        hung_up: str = "send_bye",
    ) -> Channel:
        return Channel(
            uuid=self.identities.uuid(),
            number=number,
            name=name,
            created_at=created_at,
            progress_at=None if cause == "USER_BUSY" else created_at,
            answered_at=answered_at,
            bridged_at=answered_at,
            gone_at=gone_at,
            cause=cause,
            hung_up=hung_up,
            session=self.identities.session(),
            inside=True,
        )

    def _menu(self, call: PlannedCall) -> tuple[Scene, Entry]:
        """A caller who hears what he wanted, and is gone."""
        channel = Channel(
            uuid=self.identities.uuid(),
            number=call.customer.e164 if call.customer else "anonymous",
            created_at=call.started_at,
            answered_at=call.connected_at or call.started_at,
            gone_at=call.ended_at,
            hung_up="recv_bye" if call.hung_up is Side.CALLER else "send_bye",
            session=self.identities.session(),
        )
        scene = Scene(
            {
                **channel.fields("call", zone=self.zone),
                "did": call.line.e164,
                "queue.number": "menu",
                "transfer": self.identities.uuid(),
            }
        )
        scene.add(call.started_at, STOPS, "direct.caller.create")
        scene.add(channel.answered_at or call.started_at, ANSWERS, "direct.caller.answer")
        scene.add(call.ended_at, ENDS, "menu.caller.gone")
        return scene, truth.of_menu(call, channel=channel)

    def _direct(self, call: PlannedCall) -> tuple[Scene, Entry]:
        """A customer or a colleague calls an agent's own number."""
        attempt = call.attempts[0]
        inside = call.caller is not None
        answered = call.answered_at
        voicemail = call.disposition is Disposition.VOICEMAIL
        cause, refused = ("NORMAL_CLEARING", "") if answered else CAUSES[attempt.outcome]
        hung_up = "recv_bye" if call.hung_up is Side.CALLER else "send_bye"
        if answered is None and not voicemail:
            hung_up = "recv_cancel" if attempt.outcome is Outcome.CANCELLED else "send_refuse"
        caller = Channel(
            uuid=self.identities.uuid(),
            number=call.caller.extension if call.caller else call.customer.e164 if call.customer else "anonymous",
            name=call.caller.name if call.caller else "",
            created_at=call.started_at,
            answered_at=answered or (call.connected_at if voicemail else None),
            bridged_at=answered,
            gone_at=call.ended_at,
            cause="NORMAL_CLEARING" if answered or voicemail else cause,
            hung_up=hung_up,
            session=self.identities.session(),
            inside=inside,
            more={"last_app": "voicemail" if voicemail else "bridge", "last_arg": f"{DOMAIN} 127.0.0.1"},
        )
        if answered:
            refused = "recv_bye" if call.hung_up is Side.CALLEE else "send_bye"
        leg = self._leg(
            attempt.agent.extension,
            attempt.agent.name,
            attempt.offered_at,
            answered,
            call.ended_at if answered else attempt.until,
            cause=cause,
            hung_up=refused,
        )
        dialled = attempt.agent.extension if inside else call.line.e164
        return self._inside(caller=caller, dialled=dialled, leg=leg, disposition=call.disposition)

    def _inside(self, *, caller: Channel, dialled: str, leg: Channel, disposition: Disposition) -> tuple[Scene, Entry]:
        scene = Scene(
            {
                **caller.fields("call", zone=self.zone),
                **leg.fields("leg", zone=self.zone),
                "leg.reached": "SUCCESS" if leg.answered_at else leg.cause,
                "did": dialled,
                "transfer": self.identities.uuid(),
            }
        )
        scene.add(caller.created_at, STOPS, "direct.caller.create")
        scene.add(leg.created_at, RINGS, "direct.leg.create")
        if leg.progress_at is not None:
            scene.add(leg.progress_at, RINGS, "direct.leg.progress")
        if leg.answered_at is not None:
            scene.add(leg.answered_at, ANSWERS, "direct.leg.answer", "direct.caller.answer", "direct.caller.bridge")
            scene.add(caller.gone_at, ENDS, "direct.leg.gone", "direct.caller.gone")
        else:
            scene.add(leg.gone_at, STOPS, "direct.unanswered.leg.gone")
            if caller.answered_at is not None:
                scene.add(caller.answered_at, ANSWERS, "direct.caller.answer")
            scene.add(caller.gone_at, ENDS, "direct.unanswered.caller.gone")
        return scene, truth.of_direct(caller=caller, dialled=dialled, leg=leg, disposition=disposition)
