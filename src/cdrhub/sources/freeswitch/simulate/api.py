"""API commands of the simulated switch: what it is asked, and the calls that it is asked to place.

`api` answers on the connection, for `originate` when the first phone was picked up or not; `bgapi` answers by an event
BACKGROUND_JOB. Calls that are asked for happen in real time, whatever the speed of the simulation is: whoever asked
takes what is told of another day for old news. Only a simulation that waits for nothing does not wait for them either.
`uuid_kill` ends such a call wherever it is; a call of the plan goes its way. An unknown command is answered as the real
one does.
"""

from __future__ import annotations

import asyncio
import random
import re
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from math import isinf
from typing import Final

from cdrhub.sources.freeswitch.simulate import clicks
from cdrhub.sources.freeswitch.simulate.channels import Identities
from cdrhub.sources.freeswitch.simulate.clicks import Click, Job, killed
from cdrhub.sources.freeswitch.simulate.events import Happening
from cdrhub.sources.freeswitch.simulate.originate import TALK_SECONDS, USAGE, Fate, click, fates, parse
from cdrhub.sources.freeswitch.simulate.switch import Switch
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.simulation import Due, Simulation

MAX_JOBS: Final = 1_000  #: under way at once; a further one is refused as a real switch at its limit does
MODULES: Final = frozenset({"mod_event_socket", "mod_callcenter", "mod_json_cdr", "mod_sofia"})
VERSION: Final = "FreeSWITCH Version 1.10.12-release~64bit (-release 64bit)\n"

KILL_USAGE: Final = "-USAGE: <uuid> [cause]\n"
KILLED: Final = "NORMAL_CLEARING"  #: the cause, if the command names none

_JOB_SHAPE = "job"
_CAUSE = re.compile(r"[A-Z_]{1,64}")


@dataclass(kw_only=True, slots=True)
class _Placed:
    """A call that was asked for, while it lasts."""

    click: Click
    agent_first: bool
    identities: Identities  #: as they were before it was put together: put together again, it has the same
    cut_off: asyncio.Event = field(default_factory=asyncio.Event)  #: by a command


class Commands:
    """Runs commands. `fate` says what becomes of the calls that are asked for."""

    def __init__(self, switch: Switch, simulation: Simulation, *, zone: tzinfo, fate: Fate | None = None) -> None:
        self._switch = switch
        self._simulation = simulation
        self._zone = zone
        self._chance = random.Random(f"{simulation.centre.seed} asked")  # noqa: S311 - a simulation, no secret
        self._identities = Identities(simulation.centre, "asked")
        self._fate = fate or fates(self._chance)
        self._jobs: set[asyncio.Task[None]] = set()
        self._calls: dict[str, _Placed] = {}

    async def api(self, command: str) -> str:
        """The answer to `command`."""
        name, _, arguments = command.partition(" ")
        if name != "originate":
            return self.asked(name, arguments)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._place(Job(uuid=self._identities.uuid(), arguments=arguments), answer)
        return await answer

    def background(self, command: str, uuid: str) -> None:
        """Start `command` as the job `uuid`."""
        name, _, arguments = command.partition(" ")
        job = Job(uuid=uuid, command=name, arguments=arguments)
        if name == "originate":
            self._place(job, None)
        else:
            self._result(job, self.asked(name, arguments))

    async def finished(self) -> None:
        """Wait until all calls that were asked for are over."""
        while self._jobs:
            await asyncio.gather(*self._jobs)

    async def stop(self) -> None:
        """Give up the calls under way."""
        for task in tuple(self._jobs):
            task.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def asked(self, name: str, arguments: str) -> str:
        """The answer to a command that places no call."""
        words = arguments.split()
        switch = self._switch
        match [name, *words]:
            case ["status"]:
                return (
                    f"UP 0 years, 0 days, 1 hour, 0 minutes, 0 seconds, 0 milliseconds, 0 microseconds\n{VERSION}"
                    f"{switch.created} session(s) since startup\n{len(switch.channels)} session(s) - peak "
                    f"{len(switch.channels)}, last 5min {len(switch.channels)}\n"
                )
            case ["version"]:
                return VERSION
            case ["module_exists", module]:
                return "true" if module in MODULES else "false"
            case ["uuid_exists", uuid]:
                return "true" if uuid in switch.channels else "false"
            case ["uuid_kill", uuid, *cause]:
                return self._kill(uuid, *cause[:1])
            case ["uuid_kill"]:
                return KILL_USAGE
            case ["show", "channels", "as", "json"]:
                return switch.show_channels()
            case ["show", "channels", "count"]:
                return f"\n{len(switch.channels)} total.\n"
            case ["callcenter_config", "queue", "list"]:
                return switch.list_queues()
            case ["callcenter_config", "queue", "list", "members", *queue]:
                return switch.list_members(*queue[:1])
            case ["callcenter_config", "queue", "list", "agents", queue, *more]:
                status, state = (*more, "", "")[:2]
                return switch.list_agents(queue, status=status, state=state)
            case ["callcenter_config", "queue", "list", "tiers", *queue]:
                return switch.list_tiers(*queue[:1])
            case ["callcenter_config", "agent", "list", *agent]:
                return switch.list_agents(name="".join(agent[:1]))
            case ["callcenter_config", "tier", "list"]:
                return switch.list_tiers()
            case _:
                return f"-ERR {name} Command not found!\n"

    # -- calls that are asked for ------------------------------------------------------------------------------------

    def _place(self, job: Job, answer: asyncio.Future[str] | None) -> None:
        asked = parse(job.arguments)
        uuid = (asked.uuid if asked else None) or self._identities.uuid()
        agents = {agent.extension for agent in self._switch.agents.values()}
        if asked is None:
            self._tell(job, USAGE, answer)
        elif uuid in self._switch.channels or len(self._jobs) >= MAX_JOBS:
            self._tell(job, "-ERR DESTINATION_OUT_OF_ORDER\n", answer)
        elif asked.agent_first and asked.extension not in agents:
            self._tell(job, "-ERR USER_NOT_REGISTERED\n", answer)
        else:
            placed = click(
                asked,
                uuid=uuid,
                job=job,
                fate=self._fate(asked.customer),
                agent_name=asked.extension,
                at=self._now(),
                talk=timedelta(seconds=self._chance.randint(*TALK_SECONDS)),
            )
            call = _Placed(click=placed, agent_first=asked.agent_first, identities=deepcopy(self._identities))
            self._calls[uuid] = call
            playing = self._play(call, *self._rendered(call, self._identities), answer)
            task = asyncio.get_running_loop().create_task(playing, name=f"originate {uuid}")
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _play(
        self, call: _Placed, happenings: list[Happening], entry: Entry, answer: asyncio.Future[str] | None
    ) -> None:
        happened = 0
        while happened < len(happenings):
            happening = happenings[happened]
            await self._until(happening.at, unless=call.cut_off)
            if call.cut_off.is_set():
                call.cut_off.clear()
                happenings, entry = self._rendered(call, call.identities)
                continue
            happened += 1
            if answer is not None and happening.shape == _JOB_SHAPE:
                if not answer.done():
                    answer.set_result(happening.body)
            else:
                self._switch.fire(happening)
        if self._calls[call.click.uuid] is call:  # the uuid is free with the last event
            del self._calls[call.click.uuid]
        self._simulation.settle(Due(at=happenings[-1].at, what=happenings[-1], entry=entry))

    def _rendered(self, call: _Placed, identities: Identities) -> tuple[list[Happening], Entry]:
        render = clicks.agent_click if call.agent_first else clicks.customer_click
        scene, entry = render(call.click, identities=identities, zone=self._zone)
        return scene.happenings(), entry

    def _kill(self, uuid: str, cause: str = KILLED) -> str:
        """End the call of a channel, which is told by what follows."""
        channel = self._switch.channels.get(uuid)
        if channel is None:
            return "-ERR No such channel!\n"
        call = self._calls.get(uuid) or self._calls.get(channel.call_uuid)
        if call is None:
            return "-ERR the simulation ends no call of its plan\n"
        if call.click.killed is None:
            known = cause if _CAUSE.fullmatch(cause) else KILLED
            call.click = killed(call.click, at=self._now(), cause=known, agent_first=call.agent_first)
            call.cut_off.set()
        return "+OK\n"

    def _now(self) -> datetime:
        pace = self._simulation.pace
        return pace.now() if isinf(pace.speed) else datetime.now(UTC)

    async def _until(self, at: datetime, *, unless: asyncio.Event) -> None:
        """Wait for that moment, or until `unless` is set."""
        pace = self._simulation.pace
        if isinf(pace.speed):
            await pace.until(at)
            return
        resting = pace.rest((at - datetime.now(UTC)).total_seconds())
        waiting = [asyncio.ensure_future(resting), asyncio.ensure_future(unless.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _tell(self, job: Job, result: str, answer: asyncio.Future[str] | None) -> None:
        if answer is not None:
            answer.set_result(result)
        else:
            self._result(job, result)

    def _result(self, job: Job, result: str) -> None:
        self._switch.fire(Happening(at=self._now(), shape=_JOB_SHAPE, fields=job.fields(result), body=result))
