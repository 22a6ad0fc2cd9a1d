"""The dialler `freeswitch`, against a scripted Event Socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from cdrhub.model.dialling import Accepted, DialOrder, Refusal, Refused, Standing, Unseen
from cdrhub.redial.diallers import dialler_type
from cdrhub.sources.dialling.answers import OrderRefused
from cdrhub.sources.freeswitch.config import FreeSwitchConfig
from cdrhub.sources.freeswitch.dial import DIALLER, FreeSwitchDialler, FreeSwitchDiallerConfig, originate
from support.esl import AUTH_REQUEST, GOODBYE, PASSWORD, REJECTION, Connection, EventSocketServer, job_event, reply
from support.freeswitch import bodies_of
from support.intake import until
from support.servers import free_port

ATTEMPT = "0199bbbb-0000-7000-8000-000000000001"
ORDER = DialOrder(attempt_id=ATTEMPT, case_code="C-1", source="callcentre", number="+33612345678", agent="101")


def config_of(port: int = 8021, **values: Any) -> FreeSwitchDiallerConfig:
    return FreeSwitchDiallerConfig(port=port, **{"password": PASSWORD} | values)


@asynccontextmanager
async def dialler_to(port: int, **values: Any) -> AsyncIterator[FreeSwitchDialler]:
    dialler = FreeSwitchDialler("callcentre", config_of(port, **values))
    try:
        yield dialler
    finally:
        await dialler.close()


def commanded(server: EventSocketServer, uuid: str) -> bool:
    return any(uuid in command for command in server.commands)


def ending_in(result: str | None) -> Callable[[str], str | None]:
    return lambda _command: result


def test_it_is_registered() -> None:
    assert dialler_type("freeswitch") is DIALLER


async def test_the_agent_is_rung_first_and_the_attempt_is_the_channels_id() -> None:
    async with EventSocketServer(jobs=ending_in(f"+OK {ATTEMPT}")) as server, dialler_to(server.port) as dialler:
        assert await dialler.dial(ORDER) == Accepted(vendor_ref=ATTEMPT)
    assert server.commands[:2] == [
        "event plain HEARTBEAT BACKGROUND_JOB",
        f"bgapi originate {{origination_uuid={ATTEMPT},origination_caller_id_number=+33612345678,"
        "origination_caller_id_name=+33612345678,ignore_early_media=true,originate_timeout=30,hangup_after_bridge=true}"
        f"user/101 +33612345678 XML default\nJob-UUID: {ATTEMPT}",
    ]


def test_a_command_may_go_through_a_gateway_and_show_a_number() -> None:
    config = config_of(
        gateway="carrier-1",
        caller_id="+33199000300",
        number_form="digits",
        prefix="9",
        agent_endpoint="user/{agent}@pbx.example",
    )
    command = originate(ORDER, config)
    assert command.endswith("user/101@pbx.example &bridge(sofia/gateway/carrier-1/933612345678)")
    assert "effective_caller_id_number=+33199000300}" in command


INJECTIONS = [
    "1 XML default",
    "1\n\napi fsctl shutdown",
    "1}user/102 2",
    "1,api_on_answer=system",
    "1'",
    "1|2",
    "&park()",
    "${system(id)}",
    "",
    "١٢٣",
    "1" * 100,
]


@pytest.mark.parametrize("number", INJECTIONS)
def test_a_number_writes_no_command(number: str) -> None:
    with pytest.raises(OrderRefused) as caught:
        originate(replace(ORDER, number=number), config_of())
    assert caught.value.refusal is Refusal.NUMBER


@pytest.mark.parametrize(
    "agent", ["", "101 102", "101\n", "101@evil.example", "101,102", "{x}", "../1", "101|102", "é"]
)
def test_an_agent_writes_no_command(agent: str) -> None:
    with pytest.raises(OrderRefused) as caught:
        originate(replace(ORDER, agent=agent), config_of())
    assert caught.value.refusal is Refusal.AGENT


@pytest.mark.parametrize(
    "values",
    [
        {"agent_endpoint": "user/101"},
        {"agent_endpoint": "user/{agent} &park()"},
        {"agent_endpoint": "user/{agent},user/{agent}"},
        {"gateway": "car rier"},
        {"context": "default)"},
        {"caller_id": "1,2"},
        {"answer_seconds": 600},
        {"number_form": "national"},
    ],
)
def test_a_configuration_that_would_break_the_command_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config_of(**values)


@pytest.mark.parametrize(
    ("result", "refusal"),
    [
        ("-ERR NO_ANSWER", Refusal.AGENT),
        ("-ERR USER_BUSY", Refusal.AGENT),
        ("-ERR CALL_REJECTED", Refusal.AGENT),
        ("-ERR USER_NOT_REGISTERED", Refusal.AGENT),
        ("-ERR A_CAUSE_OF_TOMORROW", Refusal.AGENT),
        ("-ERR NORMAL_TEMPORARY_FAILURE", Refusal.NETWORK),
        ("-ERR DESTINATION_OUT_OF_ORDER", Refusal.NETWORK),
        ("-ERR GATEWAY_DOWN", Refusal.CONFIGURATION),
        ("-ERR originate Command not found!", Refusal.CONFIGURATION),
        ("-USAGE: <call url> <exten>|&<application_name>(<app_args>)", Refusal.CONFIGURATION),
    ],
)
async def test_what_a_failed_originate_means(result: str, refusal: Refusal) -> None:
    async with EventSocketServer(jobs=ending_in(result)) as server, dialler_to(server.port) as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Refused)
    assert answer.refusal is refusal


async def test_a_result_that_is_none_is_not_seen() -> None:
    async with EventSocketServer(jobs=ending_in("what?")) as server, dialler_to(server.port) as dialler:
        assert isinstance(await dialler.dial(ORDER), Unseen)


async def test_recorded_results_are_read() -> None:
    async with EventSocketServer() as server, dialler_to(server.port) as dialler:
        for name, outcome in (
            ("13-agent-first-answered", Accepted),
            ("13-agent-first-busy", Accepted),  # the customer was: his channel tells, not the job
            ("13-agent-first-agent-no-answer", Refused),
        ):
            body = next(body for body in bodies_of(f"{name}.plain.esl") if b"Event-Name: BACKGROUND_JOB\n" in body)
            uuid = body.partition(b"\nJob-UUID: ")[2].partition(b"\n")[0].decode()
            dialling = asyncio.create_task(dialler.dial(replace(ORDER, attempt_id=uuid)))
            await until(partial(commanded, server, uuid))
            await server.say(body)
            assert isinstance(await dialling, outcome)


async def test_two_jobs_have_each_their_own_result() -> None:
    results = {"user/101": "+OK", "user/102": "-ERR USER_BUSY"}

    def by_agent(command: str) -> str:
        return next(said for who, said in results.items() if who in command)

    other = replace(ORDER, attempt_id=ATTEMPT.replace("1", "2"), agent="102")
    async with EventSocketServer(jobs=by_agent) as server, dialler_to(server.port) as dialler:
        first, second = await asyncio.gather(dialler.dial(ORDER), dialler.dial(other))
    assert isinstance(first, Accepted)
    assert isinstance(second, Refused)
    assert server.connections == 2  # one for events, one for commands


# -- misfortune --------------------------------------------------------------------------------------------------------


async def test_nobody_there_is_the_network() -> None:
    async with dialler_to(free_port()) as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.NETWORK


async def test_orders_at_once_do_not_wait_for_each_others_failures() -> None:
    async def stalled(connection: Connection) -> None:
        await asyncio.sleep(0.2)
        await connection.reset()

    async with EventSocketServer(script=stalled) as server, dialler_to(server.port) as dialler:
        answers = await asyncio.gather(*(dialler.dial(ORDER) for _ in range(5)))
        assert server.connections == 1
    assert {answer.refusal for answer in answers if isinstance(answer, Refused)} == {Refusal.NETWORK}
    assert all(isinstance(answer, Refused) for answer in answers)


async def test_a_dialler_is_closed_while_it_connects() -> None:
    async with EventSocketServer(script=lambda connection: connection.gone()) as server:
        dialler = FreeSwitchDialler("callcentre", config_of(server.port))
        dialling = asyncio.create_task(dialler.dial(ORDER))
        await until(lambda: server.connections)
        dialling.cancel()
        await dialler.close()
        with pytest.raises(asyncio.CancelledError):
            await dialling


@pytest.mark.parametrize("config", [FreeSwitchConfig, FreeSwitchDiallerConfig])
def test_a_password_of_several_lines_is_refused_for_it_would_be_commands(config: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="control character"):
        config(password="ClueCon\nevent plain ALL")
    assert config(password="Clue Con")


async def test_a_wrong_password_is_the_configuration_and_is_not_repeated_to_anybody() -> None:
    async with EventSocketServer() as server, dialler_to(server.port, password="hunter2-secret") as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFIGURATION
    assert "hunter2" not in answer.detail


async def test_an_access_list_that_keeps_us_out_is_the_configuration() -> None:
    async def rude(connection: Connection) -> None:
        await connection.send(REJECTION)

    async with EventSocketServer(script=rude) as server, dialler_to(server.port) as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFIGURATION


async def test_commands_that_are_not_let_in_have_not_left() -> None:
    async def one_connection(connection: Connection) -> None:
        if server.connections == 1:
            await server.behave(connection)
        else:
            await connection.send(AUTH_REQUEST)
            await connection.close()

    server = EventSocketServer(script=one_connection)
    async with server, dialler_to(server.port) as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.NETWORK


async def test_a_switch_that_dies_with_the_command_may_have_dialled() -> None:
    async def dying(connection: Connection) -> None:
        if server.connections == 1:
            await server.behave(connection)
            return
        await connection.authenticate()
        server.commands.append(await connection.command())
        await connection.reset()

    server = EventSocketServer(script=dying)
    async with server, dialler_to(server.port) as dialler:
        assert isinstance(await dialler.dial(ORDER), Unseen)
        assert server.commands[-1].startswith("bgapi originate ")


async def test_a_lost_link_leaves_the_result_unseen_and_the_next_order_makes_a_new_one() -> None:
    async with EventSocketServer() as server, dialler_to(server.port) as dialler:
        dialling = asyncio.create_task(dialler.dial(ORDER))
        await until(lambda: any(command.startswith("bgapi") for command in server.commands))
        await server.hang_up()
        assert isinstance(await dialling, Unseen)
        server.jobs = ending_in("+OK")
        again = replace(ORDER, attempt_id=ATTEMPT.replace("1", "2"))
        assert isinstance(await dialler.dial(again), Accepted)
        assert sum(ATTEMPT in command for command in server.commands) == 1


async def test_a_result_that_never_comes_is_unseen() -> None:
    async with EventSocketServer() as server:
        dialler = FreeSwitchDialler("callcentre", config_of(server.port, answer_seconds=5), result_seconds=-4.9)
        assert isinstance(await dialler.dial(ORDER), Unseen)
        await server.say(job_event(ATTEMPT, "+OK late"))  # and nobody minds
        server.jobs = ending_in("+OK")
        assert isinstance(await dialler.dial(replace(ORDER, attempt_id="b-2")), Accepted)
        await dialler.close()


async def test_a_command_that_is_refused_is_the_configuration() -> None:
    async def refusing(connection: Connection) -> None:
        if server.connections == 1:
            await server.behave(connection)
            return
        await connection.authenticate()
        await connection.command()
        await connection.send(reply("-ERR command not found"), GOODBYE)

    server = EventSocketServer(script=refusing)
    async with server, dialler_to(server.port) as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFIGURATION


# -- asking and hanging up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "standing"), [("true", Standing(live=True)), ("false", Standing())])
async def test_the_switch_is_asked_whether_the_channel_lives(said: str, standing: Standing) -> None:
    async with (
        EventSocketServer(answers={f"uuid_exists {ATTEMPT}": said}) as server,
        dialler_to(server.port) as dialler,
    ):
        assert await dialler.ask(attempt_id=ATTEMPT, vendor_ref="") == standing


async def test_who_cannot_be_asked_knows_nothing() -> None:
    async with dialler_to(free_port()) as dialler:
        assert not (await dialler.ask(attempt_id=ATTEMPT, vendor_ref="")).known
        await dialler.hang_up(attempt_id=ATTEMPT, vendor_ref="")


async def test_a_call_is_dropped_by_its_id() -> None:
    async with EventSocketServer() as server, dialler_to(server.port) as dialler:
        await dialler.hang_up(attempt_id=ATTEMPT, vendor_ref="")
        await dialler.hang_up(attempt_id="1\n\napi fsctl shutdown", vendor_ref="")
        assert server.commands[1:] == [f"api uuid_kill {ATTEMPT} ORIGINATOR_CANCEL"]


async def test_close_without_a_link_and_twice() -> None:
    dialler = FreeSwitchDialler("callcentre", config_of())
    await dialler.close()
    await dialler.close()
