"""API commands of the simulated switch: what it is asked, and the calls that it is asked to place.

`api` answers on the connection, for `originate` when the first phone was picked up or not; `bgapi` answers by an event
BACKGROUND_JOB. Calls that are asked for happen in real time, whatever the speed of the simulation is: whoever asked
takes what is told of another day for old news. Only a simulation that waits for nothing does not wait for them either.
An unknown command is answered as the real one does.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta, tzinfo
from math import isinf
from typing import Final

from cdrhub.sources.freeswitch.simulate import clicks
from cdrhub.sources.freeswitch.simulate.channels import Identities
from cdrhub.sources.freeswitch.simulate.clicks import Job
from cdrhub.sources.freeswitch.simulate.events import Happening
from cdrhub.sources.freeswitch.simulate.originate import TALK_SECONDS, USAGE, Fate, click, fates, parse
from cdrhub.sources.freeswitch.simulate.switch import Switch
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.simulation import Due, Simulation

MAX_JOBS: Final = 1_000  #: under way at once; a further one is refused as a real switch at its limit does
MODULES: Final = frozenset({"mod_event_socket", "mod_callcenter", "mod_json_cdr", "mod_sofia"})
VERSION: Final = "FreeSWITCH Version 1.10.12-release~64bit (-release 64bit)\n"

_JOB_SHAPE = "job"


class Commands:
    """Runs commands. `fate` says what becomes of the calls that are asked for."""

    def __init__(
        self, switch: Switch, simulation: Simulation, *, seed: int, zone: tzinfo, fate: Fate | None = None
    ) -> None:
        self._switch = switch
        self._simulation = simulation
        self._zone = zone
        self._chance = random.Random(f"{seed} asked")  # noqa: S311 - a simulation, no secret
        self._identities = Identities(self._chance)
        self._fate = fate or fates(self._chance)
        self._jobs: set[asyncio.Task[None]] = set()

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
        """The answer to a command that only reads."""
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
            render = clicks.agent_click if asked.agent_first else clicks.customer_click
            scene, entry = render(placed, identities=self._identities, zone=self._zone)
            playing = self._play(scene.happenings(), entry, answer)
            task = asyncio.get_running_loop().create_task(playing, name=f"originate {uuid}")
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _play(self, happenings: list[Happening], entry: Entry, answer: asyncio.Future[str] | None) -> None:
        for happening in happenings:
            await self._until(happening.at)
            if answer is not None and happening.shape == _JOB_SHAPE:
                if not answer.done():
                    answer.set_result(happening.body)
                continue
            self._switch.fire(happening)
        self._simulation.settle(Due(at=happenings[-1].at, what=happenings[-1], entry=entry))

    def _now(self) -> datetime:
        pace = self._simulation.pace
        return pace.now() if isinf(pace.speed) else datetime.now(UTC)

    async def _until(self, at: datetime) -> None:
        pace = self._simulation.pace
        if isinf(pace.speed):
            await pace.until(at)
        else:
            await pace.rest((at - datetime.now(UTC)).total_seconds())

    def _tell(self, job: Job, result: str, answer: asyncio.Future[str] | None) -> None:
        if answer is not None:
            answer.set_result(result)
        else:
            self._result(job, result)

    def _result(self, job: Job, result: str) -> None:
        self._switch.fire(Happening(at=self._now(), shape=_JOB_SHAPE, fields=job.fields(result), body=result))
