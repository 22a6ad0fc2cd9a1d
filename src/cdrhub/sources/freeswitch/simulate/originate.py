"""`originate` as the simulated switch understands it: who is dialled first, who then, and what becomes of it.

    originate {origination_uuid=…,originate_timeout=30}user/101@127.0.0.1 0612345678 XML default
    originate {origination_caller_id_number=…}sofia/gateway/carrier/0612345678 &bridge(user/101@127.0.0.1)

A user is an agent, a gateway's number a customer. What the two do is drawn from the chances of life, or said by whoever
runs the simulation. https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod-commands/1966741/
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdrhub.model.disposition import Disposition
from cdrhub.sources.freeswitch.simulate.clicks import ORIGINATE_TIMEOUT, Click, Job
from cdrhub.sources.simulation.planned import Side

USAGE: Final = (
    "-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] [<cid_name>] [<cid_num>] "
    "[<timeout_sec>]\n"
)
MAX_VARIABLES: Final = 64
AGENT_PICKS_UP: Final = timedelta(seconds=2)
CUSTOMER_PICKS_UP: Final = timedelta(seconds=6)
REFUSED_AFTER: Final = timedelta(seconds=1)
TALK_SECONDS: Final = (10, 240)

_VARIABLES = re.compile(r"\{((?:[^{}']|'[^']*')*)\}")
_VARIABLE = re.compile(r"\s*([A-Za-z0-9_]+)=('[^']*'|[^,']*)")
_USER = re.compile(r"user/([^@/\s()]+)@?[^\s()]*")
_GATEWAY = re.compile(r"sofia/gateway/[^/\s]+/([^\s()@/]+)")

#: What becomes of a call that somebody asks for, and how often.
CHANCES: Final = {
    Disposition.ANSWERED: 0.55,
    Disposition.NO_ANSWER: 0.2,
    Disposition.BUSY: 0.1,
    Disposition.REJECTED: 0.07,
    Disposition.FAILED: 0.03,
    Disposition.NOT_DIALLED: 0.05,
}

Fate = Callable[[str], Disposition]
"""What becomes of a call to this number: a key of CHANCES."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Originate:
    """A command that was understood."""

    extension: str
    customer: str
    agent_first: bool
    uuid: str | None  #: origination_uuid
    shown: str | None  #: origination_caller_id_number
    timeout: timedelta  #: that the first phone may ring


def parse(arguments: str) -> Originate | None:
    """The command of these arguments; None for one that dials nobody whom the simulation knows."""
    variables: dict[str, str] = {}
    if (block := _VARIABLES.match(arguments)) is not None:
        said = _VARIABLE.findall(block[1])[:MAX_VARIABLES]
        variables = {name: value.strip("'") for name, value in said}
        arguments = arguments[block.end() :]
    first, _, then = arguments.strip().partition(" ")
    agent_first = _USER.fullmatch(first)
    customer_first = _GATEWAY.fullmatch(first)
    if agent_first is not None:
        extension = agent_first[1]
        gateway = _GATEWAY.search(then)
        customer = gateway[1] if gateway else then.split(" ")[0]
    elif customer_first is not None:
        customer = customer_first[1]
        user = _USER.search(then)
        extension = user[1] if user else then.split(" ")[0]
    else:
        return None
    if not then or customer.startswith("&") or extension.startswith("&"):
        return None
    seconds = variables.get("originate_timeout", "")
    timeout = int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 5 else ORIGINATE_TIMEOUT
    return Originate(
        extension=extension,
        customer=customer,
        agent_first=agent_first is not None,
        uuid=variables.get("origination_uuid"),
        shown=variables.get("origination_caller_id_number"),
        timeout=timedelta(seconds=timeout),
    )


def fates(chance: random.Random) -> Fate:
    """Fates by CHANCES."""
    return lambda _number: chance.choices(tuple(CHANCES), tuple(CHANCES.values()))[0]


def click(
    asked: Originate, *, uuid: str, job: Job, fate: Disposition, agent_name: str, at: datetime, talk: timedelta
) -> Click:
    """The call that comes of `asked` at `at`, if it ends in `fate` and a talk lasts so long. A customer who is called
    first and has nobody to speak with hangs up."""
    if asked.agent_first:
        first, second = AGENT_PICKS_UP, CUSTOMER_PICKS_UP
        reached = fate is not Disposition.NOT_DIALLED and asked.timeout > first
    else:
        first, second = CUSTOMER_PICKS_UP, AGENT_PICKS_UP
        fate = Disposition.ABANDONED if fate is Disposition.NOT_DIALLED else fate
        reached = fate in (Disposition.ANSWERED, Disposition.ABANDONED) and asked.timeout > first
    if not reached and fate in (Disposition.ANSWERED, Disposition.ABANDONED):
        fate = Disposition.NO_ANSWER
    if not reached and asked.agent_first:
        fate = Disposition.NOT_DIALLED
    picked_up = at + first if reached else None
    rings = fate not in (Disposition.BUSY, Disposition.FAILED)
    joined = None
    if picked_up is None:
        waits = fate in (Disposition.NO_ANSWER, Disposition.NOT_DIALLED)
        ended, side = at + (asked.timeout if waits else REFUSED_AFTER), Side.SYSTEM
    elif fate is Disposition.ANSWERED:
        joined = picked_up + second
        ended, side = joined + talk, Side.CALLEE
    elif fate is Disposition.NO_ANSWER:
        ended, side = picked_up + asked.timeout, Side.SYSTEM
    else:
        ended, side = picked_up + (second if fate is Disposition.ABANDONED else REFUSED_AFTER), Side.CALLEE
    return Click(
        uuid=uuid,
        job=job,
        extension=asked.extension,
        agent_name=agent_name,
        customer=asked.customer,
        shown=asked.shown or asked.customer,
        disposition=fate,
        started_at=at,
        picked_up_at=picked_up,
        second_at=picked_up,
        joined_at=joined,
        ended_at=ended,
        rings=rings,
        hung_up=side,
    )
