"""The simulated switch: what it knows at one moment, told by the events that it fired, and what it answers when asked.

Everything that happens goes through `fire`: the event gets its number, the lists of channels, members and agents are
brought up to date, and whoever listens is told. So the switch's answers and its events cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import orjson

from cdrhub.sources.freeswitch.simulate.documents import document
from cdrhub.sources.freeswitch.simulate.events import HOSTNAME, Core, Event, Happening, microseconds
from cdrhub.sources.freeswitch.simulate.names import agent_name, queue_name
from cdrhub.sources.simulation.planned import Agent, Queue

SYSTEM: Final = "single_box"

WAITING: Final = frozenset({"Waiting", "Trying"})
_IN_CALL: Final = "In a queue call"


@dataclass(kw_only=True, slots=True)
class LiveChannel:
    """A channel that exists; the columns of `show channels` that are not the same for all."""

    uuid: str
    direction: str
    created: str
    created_epoch: str
    name: str
    cid_name: str
    cid_num: str
    dest: str
    initial_dest: str
    call_uuid: str
    callstate: str = "DOWN"

    def row(self) -> dict[str, str]:
        """As mod_commands lists it: the columns of the core's table `channels`."""
        return {
            "uuid": self.uuid,
            "direction": self.direction,
            "created": self.created,
            "created_epoch": self.created_epoch,
            "name": self.name,
            "state": "CS_EXECUTE" if self.direction == "inbound" else "CS_CONSUME_MEDIA",
            "cid_name": self.cid_name,
            "cid_num": self.cid_num,
            "ip_addr": "127.0.0.1",
            "dest": self.dest,
            "application": "",
            "application_data": "",
            "dialplan": "XML",
            "context": "default",
            "read_codec": "PCMU",
            "read_rate": "8000",
            "read_bit_rate": "64000",
            "write_codec": "PCMU",
            "write_rate": "8000",
            "write_bit_rate": "64000",
            "secure": "",
            "hostname": HOSTNAME,
            "presence_id": "",
            "presence_data": "",
            "accountcode": "",
            "callstate": self.callstate,
            "callee_name": "",
            "callee_num": "",
            "callee_direction": "",
            "call_uuid": self.call_uuid,
            "sent_callee_name": "",
            "sent_callee_num": "",
            "initial_cid_name": self.cid_name,
            "initial_cid_num": self.cid_num,
            "initial_ip_addr": "127.0.0.1",
            "initial_dest": self.initial_dest,
            "initial_dialplan": "XML",
            "initial_context": "public" if self.direction == "inbound" else "default",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A caller in a queue, a row of mod_callcenter's table `members`. Epochs are whole seconds, 0 for never."""

    queue: str
    uuid: str
    session_uuid: str
    cid_number: str
    cid_name: str
    system_epoch: str
    joined_epoch: str
    rejoined_epoch: str = "0"
    bridge_epoch: str = "0"
    serving_agent: str = ""
    serving_system: str = ""
    state: str = "Waiting"


@dataclass(kw_only=True, slots=True)
class LiveAgent:
    """An agent of mod_callcenter. Times are whole seconds since 1970, 0 for never."""

    name: str
    extension: str
    queues: tuple[str, ...]
    status: str = "Available"
    state: str = "Waiting"
    answered: int = 0
    last_status_change: str = "0"
    last_offered: str = "0"
    last_bridge_start: str = "0"
    last_bridge_end: str = "0"


@dataclass(kw_only=True, slots=True)
class Switch:
    """One FreeSWITCH. `heard` are told each event, `documents` each channel's CDR document."""

    core: Core
    agents: dict[str, LiveAgent] = field(default_factory=dict)
    queues: Sequence[str] = ()
    channels: dict[str, LiveChannel] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    heard: list[Callable[[Event], None]] = field(default_factory=list)
    documents: list[Callable[[bytes], None]] = field(default_factory=list)
    created: int = 0  #: channels since the start

    def fire(self, happening: Happening) -> Event:
        """Let it happen: the next event, told to everyone."""
        more: dict[str, str] = {}
        if happening.shape == "members.count":
            more["count"] = str(self._waiting(happening.fields["queue"], leaving=happening.fields["member.uuid"]))
        event = self.core.fire(happening, more)
        self._note(event, happening)
        self.tell(event)
        return event

    def heartbeat(self, at: datetime, *, began_at: datetime) -> Event:
        """A HEARTBEAT, told to everyone."""
        event = self.core.heartbeat(at, up=at - began_at, sessions=len(self.channels), since_start=self.created)
        self.tell(event)
        return event

    def tell(self, event: Event) -> None:
        """Tell everyone who listens."""
        for hear in tuple(self.heard):
            hear(event)

    def _waiting(self, queue: str, *, leaving: str) -> int:
        """CC-Count: those who wait, and the one who was answered just now."""
        members = (member for member in self.members.values() if member.queue == queue)
        return sum(member.state in WAITING or member.uuid == leaving for member in members)

    # -- what an event changes ---------------------------------------------------------------------------------------

    def _note(self, event: Event, happening: Happening) -> None:
        if event.get("Event-Name") == "CUSTOM":
            self._note_queue(event, happening)
        else:
            self._note_channel(event)

    def _note_channel(self, event: Event) -> None:
        uuid = event.get("Unique-ID")
        match event.get("Event-Name"):
            case "CHANNEL_CREATE":
                self.created += 1
                created = event.get("Caller-Channel-Created-Time")
                self.channels[uuid] = LiveChannel(
                    uuid=uuid,
                    direction=event.get("Call-Direction"),
                    created=event.get("Event-Date-Local"),
                    created_epoch=created[:-6],
                    name=event.get("Channel-Name"),
                    cid_name=event.get("Caller-Caller-ID-Name"),
                    cid_num=event.get("Caller-Caller-ID-Number"),
                    dest=event.get("Caller-Destination-Number"),
                    initial_dest=event.get("Caller-Destination-Number"),
                    call_uuid=event.get("Channel-Call-UUID"),
                )
            case "CHANNEL_PROGRESS" if channel := self.channels.get(uuid):
                channel.callstate = "RINGING"
            case "CHANNEL_ANSWER" if channel := self.channels.get(uuid):
                channel.callstate = "ACTIVE"
                channel.dest = event.get("Caller-Destination-Number")
            case "CHANNEL_BRIDGE" if other := self.channels.get(event.get("Other-Leg-Unique-ID")):
                other.call_uuid = uuid
            case "CHANNEL_HANGUP_COMPLETE":
                self.channels.pop(uuid, None)
                if self.documents:
                    written = document(event)
                    for write in self.documents:
                        write(written)

    def _note_queue(self, event: Event, happening: Happening) -> None:
        member, agent = self.members.get(event.get("CC-Member-UUID")), self.agents.get(event.get("CC-Agent"))
        match event.get("CC-Action"):
            case "member-queue-start" | "member-queue-resume" as action:
                self._joined(event, resumed=action == "member-queue-resume")
            case "agent-offering" if member is not None:
                self._member(member, state="Trying", serving_agent=event.get("CC-Agent"), serving_system=SYSTEM)
                if agent is not None:
                    agent.last_offered = happening.fields["agent.called.s"]
            case "bridge-agent-start" if member is not None:
                bridged = event.get("CC-Agent-Answered-Time")
                self._member(member, state="Answered", serving_agent=event.get("CC-Agent"), bridge_epoch=bridged)
                if agent is not None:
                    agent.answered += 1
            case "bridge-agent-fail" if member is not None and member.state == "Trying":
                self._member(member, state="Waiting", serving_agent="", serving_system="")
            case "member-queue-end" if member is not None:
                del self.members[member.uuid]
            case "agent-state-change" if agent is not None:
                second, before = str(microseconds(happening.at) // 1_000_000), agent.state
                agent.state = event.get("CC-Agent-State")
                if agent.state == _IN_CALL:
                    agent.last_bridge_start = second
                elif before == _IN_CALL:
                    agent.last_bridge_end = second
            case "agent-status-change" if agent is not None:
                agent.status = event.get("CC-Agent-Status")
                agent.last_status_change = str(microseconds(happening.at) // 1_000_000)

    def _joined(self, event: Event, *, resumed: bool) -> None:
        joined = event.get("variable_cc_queue_joined_epoch")
        uuid = event.get("CC-Member-UUID")
        self.members[uuid] = Member(
            queue=event.get("CC-Queue"),
            uuid=uuid,
            session_uuid=event.get("CC-Member-Session-UUID"),
            cid_number=event.get("CC-Member-CID-Number"),
            cid_name=event.get("CC-Member-CID-Name"),
            system_epoch=event.get("Caller-Channel-Created-Time")[:-6],
            joined_epoch=joined,
            rejoined_epoch=joined if resumed else "0",
        )

    def _member(self, member: Member, **changed: str) -> None:
        self.members[member.uuid] = replace(member, **changed)

    # -- what it answers ---------------------------------------------------------------------------------------------

    def show_channels(self) -> str:
        """`show channels as json`."""
        rows = [channel.row() for channel in self.channels.values()]
        return orjson.dumps({"row_count": len(rows), **({"rows": rows} if rows else {})}).decode()

    def list_queues(self) -> str:
        """`callcenter_config queue list`."""
        columns = {
            "strategy": "longest-idle-agent",
            "moh_sound": "$${hold_music}",
            "time_base_score": "queue",
            "tier_rules_apply": "false",
            "tier_rule_wait_second": "300",
            "tier_rule_wait_multiply_level": "true",
            "tier_rule_no_agent_no_wait": "false",
            "discard_abandoned_after": "300",
            "abandoned_resume_allowed": "true",
            "max_wait_time": "300",
            "max_wait_time_with_no_agent": "0",
            "max_wait_time_with_no_agent_time_reached": "5",
            "record_template": "",
            "calls_answered": "0",
            "calls_abandoned": "0",
            "ring_progressively_delay": "10",
            "skip_agents_with_external_calls": "true",
            "agent_no_answer_status": "On Break",
        }
        return _table({"name": queue, **columns} for queue in self.queues)

    def list_members(self, queue: str = "") -> str:
        """`callcenter_config queue list members`, of one queue or of all."""
        return _table(
            {
                "queue": member.queue,
                "instance_id": SYSTEM,
                "uuid": member.uuid,
                "session_uuid": member.session_uuid,
                "cid_number": member.cid_number,
                "cid_name": member.cid_name,
                "system_epoch": member.system_epoch,
                "joined_epoch": member.joined_epoch,
                "rejoined_epoch": member.rejoined_epoch,
                "bridge_epoch": member.bridge_epoch,
                "abandoned_epoch": "0",
                "base_score": "0",
                "skill_score": "0",
                "serving_agent": member.serving_agent,
                "serving_system": member.serving_system,
                "state": member.state,
                "score": "0",
            }
            for member in self.members.values()
            if queue in ("", member.queue)
        )

    def list_agents(self, queue: str = "", *, name: str = "", status: str = "", state: str = "") -> str:
        """`callcenter_config agent list`, or those of a queue's tiers."""
        return _table(
            {
                "name": agent.name,
                "instance_id": SYSTEM,
                "uuid": "",
                "type": "callback",
                "contact": f"[leg_timeout=20]user/{agent.extension}@127.0.0.1",
                "status": agent.status,
                "state": agent.state,
                "max_no_answer": "0",
                "wrap_up_time": "2",
                "reject_delay_time": "10",
                "busy_delay_time": "10",
                "no_answer_delay_time": "10",
                "last_bridge_start": agent.last_bridge_start,
                "last_bridge_end": agent.last_bridge_end,
                "last_offered_call": agent.last_offered,
                "last_status_change": agent.last_status_change,
                "no_answer_count": "0",
                "calls_answered": str(agent.answered),
                "talk_time": "0",
                "ready_time": "0",
                "external_calls_count": "0",
            }
            for agent in self.agents.values()
            if (not queue or queue in agent.queues)
            and name in ("", agent.name)
            and status in ("", agent.status)
            and state in ("", agent.state)
        )

    def list_tiers(self, queue: str = "") -> str:
        """`callcenter_config tier list`, or `queue list tiers <queue>`."""
        return _table(
            {"queue": served, "agent": agent.name, "state": "Ready", "level": "1", "position": "1"}
            for agent in self.agents.values()
            for served in agent.queues
            if queue in ("", served)
        )


def staffed(switch: Switch, *, queues: Iterable[Queue], agents: Iterable[Agent], at: datetime) -> list[Happening]:
    """Give the switch its queues and agents; the events of all agents logging in at `at`."""
    names = {queue.name: queue_name(queue) for queue in queues}
    switch.queues = tuple(names.values())
    happenings = []
    for agent in agents:
        name = agent_name(agent)
        served = (names[agent.team],) if agent.team in names else ()
        switch.agents[name] = LiveAgent(name=name, extension=agent.extension, queues=served)
        fields = {"agent.id": name, "agent.status": "Available", "agent.state": "Waiting"}
        happenings += [Happening(at=at, shape=shape, fields=fields) for shape in ("agent.status", "agent.state")]
    return happenings


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    """A list of mod_callcenter: names, values, `+OK`; a `|` in a value is not escaped. No rows: `+OK` alone."""
    lines: list[str] = []
    for row in rows:
        if not lines:
            lines.append("|".join(row))
        lines.append("|".join(row.values()))
    return "".join(f"{line}\n" for line in [*lines, "+OK"])
