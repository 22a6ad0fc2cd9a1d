"""What the Event Socket did not show: the switch is asked what it knows, and open calls are set right by it.

The Event Socket repeats nothing, so after every connection, and every few minutes, queues, members, agents and channels
are read and compared with the calls that are open in the database, and with the events of agents:

- a call whose channel is gone is closed. When and how it ended nobody saw: its end, its talk and, unless a person had
  answered, its disposition stay unknown until a record of the switch (a CDR document) tells them;
- a caller in a queue, or with an agent, whom no event showed becomes a call, or the answer that was missed a leg;
- a call that lives although nothing was heard of it for hours says so, so that it is not taken for a forgotten one;
- a status or state of an agent that no event told is told (agents.py).

Each is a record of the hub's own (model/inference.py) that depends on the call and on what the switch lists alone, so
that two hubs write one; any record of the switch outranks it. mod_callcenter can list members as `Answered` for hours
after they left (https://github.com/signalwire/freeswitch/issues/1373), so it is the channel that decides who lives.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from cdrhub.model.call import Call
from cdrhub.model.disposition import Outcome, Role, State
from cdrhub.model.immutable import immutable
from cdrhub.model.inference import END_INFERRED, call_inference
from cdrhub.model.numbers import NumberPlan
from cdrhub.model.update import MIN_TIME, bounded_key, storable
from cdrhub.sources.base import Intake
from cdrhub.sources.freeswitch import listings
from cdrhub.sources.freeswitch.agents import RECONCILED, AgentsHeard
from cdrhub.sources.freeswitch.calls import put_direction
from cdrhub.sources.freeswitch.config import FreeSwitchConfig
from cdrhub.sources.freeswitch.draft import Draft
from cdrhub.sources.freeswitch.ending import last_left
from cdrhub.sources.freeswitch.esl.errors import CommandFailed
from cdrhub.sources.freeswitch.listings import IN_QUEUE, ListedAgent, ListedChannel, ListingError, Member

log = structlog.get_logger(__name__)

SILENCE = timedelta(seconds=10)  #: of a call or a member, before the events are not merely on their way
CONFIRM_SECONDS = 3.0  #: in which an end that the switch just told may still come as an event
LIVING_AFTER = timedelta(hours=6)  #: of silence; without a sign of life given up after 12 h (hub/sweeper.py)
MAX_CHANNELS = 2_000  #: listed in one answer: a few megabytes, read in one turn of the loop; more are asked one by one

_UUID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@-]{0,254}")  #: what can be an argument of a command
_QUEUE = re.compile(r"(?:[^\s|'\"\\]| ){1,255}")


class Commands(Protocol):
    """The connection for commands."""

    async def api(self, command: str) -> str:
        """The answer to an api command. Raises NotConnected, or CommandFailed for `-ERR …`."""


@immutable
class Seen:
    """What the switch knows at one moment. `alive` and `gone` are the channels that it was asked about, `open_before`
    the keys of the calls that were open before it was asked: one of these that is no longer open ended meanwhile, and
    was not missed."""

    members: tuple[Member, ...] = ()
    channels: tuple[ListedChannel, ...] = ()
    alive: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    open_before: frozenset[str] = frozenset()


# -- pure --------------------------------------------------------------------------------------------------------------


def differences(
    open_calls: Iterable[Call], silent: Iterable[Call], seen: Seen, *, plan: NumberPlan, every_call: bool, now: datetime
) -> list[dict[str, Any]]:
    """The inferences that make the calls agree with what the switch knows.

    `open_calls` are all that have no end, `silent` those of them without a record for SILENCE. `every_call`: also
    calls outside queues are of interest.
    """
    known = {call.call_key: call for call in open_calls}
    found = [closed(call) for call in silent if call.call_key in seen.gone]
    listed = {channel.uuid: channel for channel in seen.channels}
    queued = set()
    for member in seen.members:
        queued.add(member.session_uuid)
        key = bounded_key(member.session_uuid)
        call = known.get(key)
        missed = key not in seen.open_before if call is None else _answer_missed(call, member)
        if (
            missed
            and member.state in IN_QUEUE
            and member.session_uuid in seen.alive
            and member.joined_at is not None
            and not lately(member.bridged_at or member.joined_at, now=now)
        ):
            found.append(queue_call(member, listed.get(member.session_uuid), plan))
    if every_call:
        found += [
            other_call(channel, plan)
            for channel in seen.channels
            if channel.inbound
            and channel.call_uuid == channel.uuid
            and channel.uuid not in queued
            and bounded_key(channel.uuid) not in known.keys() | seen.open_before
            and channel.created_at is not None
            and not lately(channel.created_at, now=now)
        ]
    return found


def lately(at: datetime, *, now: datetime) -> bool:
    """Whether an event that tells of this moment may still be on its way. A moment far ahead of our clock is that of a
    switch whose clock is wrong, and counts as old."""
    return abs(now - at) < SILENCE


def closed(call: Call) -> dict[str, Any]:
    """The inference that ends `call`, whose channel is gone. Where every leg of it was seen to end, the last of these
    is its end."""
    values: dict[str, Any] = {"state": State.ENDED.value}
    ended = last_left(call)
    if ended is not None:
        values["ended_at"] = ended
    elif call.state != State.ANSWERED:
        values["disposition"] = None  # not derivable from what was seen; any further record may tell it
    moments = (call.started_at, call.queued_at, call.ringing_at, call.connected_at, call.answered_at)
    seen = (*moments, *(leg.left_at for leg in call.legs))
    at = max((moment for moment in seen if moment is not None), default=MIN_TIME)
    return call_inference(
        "channel_gone", call.call_key, at=at, values=values, flags=[END_INFERRED, RECONCILED], legs=()
    )


def queue_call(member: Member, channel: ListedChannel | None, plan: NumberPlan) -> dict[str, Any]:
    """The inference that tells of a caller in a queue, and of the agent who answered."""
    draft = Draft(bounded_key(member.session_uuid), "member", plan)
    created = channel.created_at if channel is not None else None
    _caller(draft, member.caller_number, member.caller_name, channel.dialled if channel is not None else None)
    draft.put(started_at=member.started_at or created)
    draft.leg(member.uuid, role=Role.QUEUE, queue=member.queue, offered_at=member.joined_at)
    if member.agent is not None and member.bridged_at is not None:
        draft.leg(
            f"{member.uuid}/{member.agent}",
            role=Role.AGENT,
            parent_leg=member.uuid,
            queue=member.queue,
            agent_id=member.agent,
            answered_at=member.bridged_at,
            outcome=Outcome.ANSWERED,
        )
    return _told(draft, at=member.bridged_at or member.joined_at)


def other_call(channel: ListedChannel, plan: NumberPlan) -> dict[str, Any]:
    """The inference that tells of a call outside queues."""
    draft = Draft(bounded_key(channel.uuid), "channel", plan)
    _caller(draft, channel.caller_number, channel.caller_name, channel.dialled)
    draft.put(started_at=channel.created_at)
    return _told(draft, at=channel.created_at)


def living(call: Call, *, now: datetime) -> dict[str, Any]:
    """The inference that says that `call` lives. It holds for a whole stretch of LIVING_AFTER, so that two hubs, and
    one that asks again, write the same one."""
    at = now - timedelta(seconds=now.timestamp() % LIVING_AFTER.total_seconds())
    return call_inference("living", call.call_key, at=at, values={}, legs=())


def _answer_missed(call: Call, member: Member) -> bool:
    """Whether an agent answered `member` and no leg says so. If an attempt at the same agent with a known outcome is
    there, the two cannot be told apart: then no, and later events must tell."""
    if member.bridged_at is None or member.agent is None or member.state != "Answered":
        return False
    agent = bounded_key(f"{member.uuid}/{member.agent}")
    return not any(
        (leg.parent_leg == member.uuid and leg.outcome == Outcome.ANSWERED)
        or (leg.leg_key.startswith(agent) and leg.outcome != Outcome.UNKNOWN)
        for leg in call.legs
    )


def _caller(draft: Draft, number: str | None, name: str | None, dialled: str | None) -> None:
    draft.party("caller", number)
    draft.put(caller_name=name)
    if dialled is not None:
        draft.party("callee", dialled)
        draft.put(dialed_number=dialled)
        put_direction(draft, caller=number)


def _told(draft: Draft, *, at: datetime | None) -> dict[str, Any]:
    return call_inference(
        draft.kind,
        draft.call_key,
        at=at or MIN_TIME,
        values=storable(draft.values, draft.flags),
        flags=[RECONCILED, *sorted(draft.flags)],
        legs=[{"leg_key": leg.leg_key, "values": leg.values} for leg in draft.legs],
    )


# -- asking ------------------------------------------------------------------------------------------------------------


async def reconcile(
    commands: Commands,
    intake: Intake,
    *,
    config: FreeSwitchConfig,
    heard: AgentsHeard,
    confirm_seconds: float = CONFIRM_SECONDS,
) -> None:
    """Ask the switch and journal what differs; `heard` is what the events of this connection said of agents. Raises
    NotConnected or CommandFailed when the switch does not answer, StoreUnavailable or IntakeRefused when the hub
    cannot; what was journaled until then stands."""
    switch = _Asked(commands, intake)
    heard_before = heard.so_far()
    open_before = frozenset(call.call_key for call in await intake.open_calls())
    agents = await switch.agents()
    members = await switch.members()
    await switch.list_channels()
    suspects = await intake.open_calls(silent_for=SILENCE)
    await switch.ask_for([call.call_key for call in suspects])
    await switch.ask_for([member.session_uuid for member in members if member.state in IN_QUEUE])
    await asyncio.sleep(confirm_seconds)
    seen = Seen(
        members=tuple(members),
        channels=tuple(switch.channels),
        alive=frozenset(switch.alive),
        gone=frozenset(switch.gone),
        open_before=open_before,
    )
    now = datetime.now(UTC)
    silent = await intake.open_calls(silent_for=SILENCE)
    found = differences(
        await intake.open_calls(),
        silent,
        seen,
        plan=config.number_plan(),
        every_call=config.calls == "all",
        now=now,
    )
    for inference in found:
        await intake.infer(inference)
        intake.count("reconciled")
    for inference in heard.missed(agents, before=heard_before, lately=partial(lately, now=now)):
        await intake.infer(inference)
        intake.count("agents_reconciled")
    for call in await intake.open_calls(silent_for=LIVING_AFTER):
        if call.call_key in seen.alive:
            await intake.infer(living(call, now=now))
    if found:
        ended = sum(inference["kind"] == "channel_gone" for inference in found)
        log.info(
            "open calls were set right by what the switch knows",
            action="reconciled",
            source=intake.source,
            ended=ended,
            told=len(found) - ended,
        )


class _Asked:
    """What the switch answered so far."""

    def __init__(self, commands: Commands, intake: Intake) -> None:
        self._commands = commands
        self._intake = intake
        self.channels: list[ListedChannel] = []
        self.alive: set[str] = set()
        self.gone: set[str] = set()

    async def members(self) -> list[Member]:
        """The members of every queue; none where mod_callcenter is not loaded: they are only told of, never closed."""
        queues: list[str] = []
        found: list[Member] = []
        with self._or_counted("members_not_listed"):
            queues = listings.queue_names(await self._commands.api("callcenter_config queue list"))
        for queue in queues:
            with self._or_counted("members_not_listed"):
                command = f"callcenter_config queue list members {_argument(queue)}"
                found += listings.members(await self._commands.api(command))
        return found

    async def agents(self) -> list[ListedAgent]:
        """All agents; none where mod_callcenter is not loaded."""
        with self._or_counted("agents_not_listed"):
            return listings.agents(await self._commands.api("callcenter_config agent list"))
        return []

    async def list_channels(self) -> None:
        """All channels at once, where they are not too many."""
        with self._or_counted("channels_not_listed"):
            if listings.channel_count(await self._commands.api("show channels count")) <= MAX_CHANNELS:
                self.channels = listings.channels(await self._commands.api("show channels as json"))
        self.alive |= {channel.uuid for channel in self.channels}

    @contextmanager
    def _or_counted(self, what: str) -> Iterator[None]:
        """A list that the switch refuses, or that is none, is counted and left out."""
        try:
            yield
        except (CommandFailed, ListingError):
            self._intake.count(what)

    async def ask_for(self, uuids: Iterable[str]) -> None:
        """Whether each of these channels exists."""
        for uuid in uuids:
            if uuid in self.alive or uuid in self.gone or not _UUID.fullmatch(uuid):
                continue
            answer = (await self._commands.api(f"uuid_exists {uuid}")).strip()
            if answer == "true":
                self.alive.add(uuid)
            elif answer == "false":
                self.gone.add(uuid)


def _argument(queue: str) -> str:
    """The name of a queue as one argument of a command. Raises ListingError for one that could be more than that."""
    if not _QUEUE.fullmatch(queue):
        raise ListingError("a queue whose name cannot be an argument")
    return f"'{queue}'" if " " in queue else queue
