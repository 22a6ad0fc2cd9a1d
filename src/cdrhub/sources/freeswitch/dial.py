"""The dialler `freeswitch`: `bgapi originate` over an Event Socket connection of its own, the agent first.

The agent's phone rings, and once it was picked up the switch dials the number. The id of the attempt is the
`origination_uuid`, so that it is the call's id in whatever the switch tells of it later. The job's result says whether
the agent picked up; what became of the customer's leg only the records of the source tell.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod-commands/1966741/#originate

A command is one line of text in which blanks, commas, braces and quotes have a meaning and no escape: what is put into
it is allowed character by character (sources/dialling/orders.py).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from cdrhub.errors import NotConnected
from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Standing
from cdrhub.sources.dialler import DiallerType
from cdrhub.sources.dialling.answers import AnswerUnseen, OrderRefused, answering, shown
from cdrhub.sources.dialling.orders import PhoneDiallerConfig, agent_of, number_of, reference_of
from cdrhub.sources.freeswitch.config import Password
from cdrhub.sources.freeswitch.esl.errors import CommandFailed, CommandRefused, NotSent, Refused
from cdrhub.sources.freeswitch.esl.jobs import Jobs

RESULT_SECONDS: Final = 5.0
MAX_ANSWER_SECONDS: Final = 40  #: a request as a whole is given a minute

_ENDPOINT = re.compile(r"[A-Za-z0-9_./:@;=~-]*")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHOWN_NUMBER = re.compile(r"(\+?[0-9]{1,32})?")

_CONFIGURATION: Final = frozenset(
    {
        "CHAN_NOT_IMPLEMENTED",
        "FACILITY_NOT_IMPLEMENTED",
        "FACILITY_NOT_SUBSCRIBED",
        "GATEWAY_DOWN",
        "INVALID_GATEWAY",
        "INVALID_PROFILE",
        "INVALID_URL",
        "MANDATORY_IE_MISSING",
        "SERVICE_NOT_IMPLEMENTED",
    }
)
"""Causes (switch_types.h) by which nobody can be dialled before a person has corrected something."""

_NETWORK: Final = frozenset(
    {
        "CRASH",
        "DESTINATION_OUT_OF_ORDER",
        "MANAGER_REQUEST",
        "NETWORK_OUT_OF_ORDER",
        "NORMAL_CIRCUIT_CONGESTION",
        "NORMAL_TEMPORARY_FAILURE",
        "REQUESTED_CHAN_UNAVAIL",
        "SWITCH_CONGESTION",
        "SYSTEM_SHUTDOWN",
    }
)
"""Causes that are neither the agent's doing nor the customer's."""


def _an_endpoint(text: str) -> str:
    if text.count("{agent}") != 1 or _ENDPOINT.fullmatch(text.replace("{agent}", "")) is None:
        raise ValueError("is not an endpoint with {agent} in it once: write user/{agent} or user/{agent}@pbx.example")
    return text


def _a_name(text: str | None) -> str | None:
    if text is not None and _NAME.fullmatch(text) is None:
        raise ValueError("is not a name: letters, digits, dots, hyphens and underscores, 64 at most")
    return text


def _a_shown_number(text: str) -> str:
    if _SHOWN_NUMBER.fullmatch(text) is None:
        raise ValueError("is not a number: write digits, with a + before them or without")
    return text


class FreeSwitchDiallerConfig(PhoneDiallerConfig):
    """A dialler of type `freeswitch`."""

    type: Literal["freeswitch"] = Field("freeswitch", description="What dials.")
    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Host of the Event Socket.")
    port: int = Field(8021, ge=1, le=65_535, description="Port of the Event Socket.")
    password: Password = Field(description="Password of the Event Socket, e.g. `${ESL_PASSWORD}`.")
    agent_endpoint: Annotated[str, AfterValidator(_an_endpoint)] = Field(
        "user/{agent}", description="Whom the switch rings first; `{agent}` is the agent of the order."
    )
    context: Annotated[str, AfterValidator(_a_name)] = Field(
        "default", description="The dialplan context in which the number is dialled when the agent has picked up."
    )
    gateway: Annotated[str | None, AfterValidator(_a_name)] = Field(
        None, description="A SIP gateway to dial the number through, instead of the dialplan."
    )
    caller_id: Annotated[str, AfterValidator(_a_shown_number)] = Field(
        "", description="The number that the customer sees; empty: what the dialplan or the gateway shows."
    )
    answer_seconds: int = Field(
        30, ge=5, le=MAX_ANSWER_SECONDS, description="Seconds that the agent's phone rings at most."
    )


class FreeSwitchDialler:
    """One switch that dials. `result_seconds`: beyond the ringing, until it must have told the result."""

    idempotent = False

    def __init__(self, name: str, config: FreeSwitchDiallerConfig, *, result_seconds: float = RESULT_SECONDS) -> None:
        self._who = f"the dialler {name}"
        self._config = config
        self._seconds = config.answer_seconds + result_seconds
        self._jobs = Jobs(host=config.host, port=config.port, password=config.password.get_secret_value())

    async def dial(self, order: DialOrder) -> Answer:
        """Ring the agent; answered when he has picked up or has not (see `Dialler.dial`)."""
        return await answering(self._dial(order))

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:  # noqa: ARG002 - of the protocol
        """Whether a channel of this attempt lives; how one ended the switch does not remember."""
        try:
            exists = await self._jobs.api(f"uuid_exists {reference_of(attempt_id)}")
        except (NotConnected, Refused, CommandFailed, OrderRefused):
            return Standing()
        return Standing(live=exists.strip() == "true")

    async def hang_up(self, *, attempt_id: str, vendor_ref: str) -> None:  # noqa: ARG002 - of the protocol
        """End the agent's channel, and with it the customer's."""
        try:
            await self._jobs.api(f"uuid_kill {reference_of(attempt_id)} ORIGINATOR_CANCEL")
        except (NotConnected, Refused, CommandFailed, OrderRefused):
            return  # over already, or out of reach: its record tells

    async def close(self) -> None:
        """Let go of the switch."""
        await self._jobs.close()

    async def _dial(self, order: DialOrder) -> Answer:
        command = originate(order, self._config)
        try:
            reply = await self._jobs.run(command, job_uuid=reference_of(order.attempt_id), seconds=self._seconds)
        except NotSent as error:
            raise OrderRefused(Refusal.NETWORK, f"{self._who}: {error}") from error
        except NotConnected as error:
            raise AnswerUnseen(f"{self._who}: {error}") from error
        except (Refused, CommandRefused, CommandFailed) as error:
            raise OrderRefused(Refusal.CONFIGURATION, f"{self._who}: {error}") from error
        return answer_of(reply, who=self._who)


def originate(order: DialOrder, config: FreeSwitchDiallerConfig) -> str:
    """The command of an order. Raises OrderRefused for a number, an agent or an id that may not stand in it."""
    number, agent, attempt = number_of(order, config), agent_of(order), reference_of(order.attempt_id)
    variables = {
        "origination_uuid": attempt,
        "origination_caller_id_number": number,  # what the agent's phone shows
        "origination_caller_id_name": number,
        "ignore_early_media": "true",  # else the agent's ringing tone counts as his answer
        "originate_timeout": str(config.answer_seconds),
        "hangup_after_bridge": "true",
    }
    if config.caller_id:
        variables["effective_caller_id_number"] = config.caller_id
    listed = ",".join(f"{name}={value}" for name, value in variables.items())
    endpoint = config.agent_endpoint.replace("{agent}", agent)
    if config.gateway is not None:
        return f"originate {{{listed}}}{endpoint} &bridge(sofia/gateway/{config.gateway}/{number})"
    return f"originate {{{listed}}}{endpoint} {number} XML {config.context}"


def answer_of(result: str, *, who: str) -> Answer:
    """What the result of an originate means; the customer has not been dialled where it failed. Raises OrderRefused,
    AnswerUnseen."""
    word, _, rest = result.partition(" ")
    if word == "+OK":
        return Accepted(vendor_ref=shown(rest)[:64])
    if word == "-ERR":
        cause = rest.strip()
        detail = f"{who}: {shown(cause)}"
        if cause in _NETWORK:
            raise OrderRefused(Refusal.NETWORK, detail)
        if cause in _CONFIGURATION or cause.endswith("Command not found!"):
            raise OrderRefused(Refusal.CONFIGURATION, detail)
        raise OrderRefused(Refusal.AGENT, detail)
    if word == "-USAGE:":
        raise OrderRefused(Refusal.CONFIGURATION, f"{who} does not understand the command")
    raise AnswerUnseen(f"{who} told a result that is none: {shown(result)!r}")


DIALLER: Final = DiallerType(name="freeswitch", config_model=FreeSwitchDiallerConfig, build=FreeSwitchDialler)
