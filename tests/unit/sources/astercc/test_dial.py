"""MAKECALL: what is asked, and what each answer means."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Refused, Standing, Unseen
from cdrhub.sources.astercc.dial import DIALLER, AsterCCDiallerConfig
from cdrhub.sources.dialling.fields import REQUEST_SECONDS
from support.dialling import ATTEMPT, Vendor, order, vendor

PASSWORD = "pass&word=1"
CHINESE = "+8613912345678"


def config(**said: Any) -> AsterCCDiallerConfig:
    known = {"url": "http://192.0.2.1/", "team": "demo", "password": PASSWORD, "model_id": "10", "region": "CN"}
    return AsterCCDiallerConfig(**known | said)


async def dialled(peer: Vendor, one: DialOrder | None = None, **said: Any) -> Answer:
    dialler = DIALLER.build("makecall", config(url=f"{peer.url}/asterccinterfaces", **said))
    try:
        return await dialler.dial(one or order(number=CHINESE))
    finally:
        await dialler.close()


async def answered(text: str, *, status: int = 200) -> Answer:
    async with vendor() as peer:
        peer.says(text, status=status)
        return await dialled(peer)


async def test_an_order_is_asked_for_once_and_nothing_of_it_is_in_the_url() -> None:
    async with vendor() as peer:
        peer.says("|Retuen|1|Retuen|BackMsg_19")
        answer = await dialled(peer, group="5", caller_id="01012345678", trunk="trunk1")
    assert answer == Accepted()
    (request,) = peer.requests
    assert (request.method, request.target) == ("POST", "/asterccinterfaces")
    assert request.form == {
        "EVENT": "MAKECALL",
        "targetdn": "13912345678",
        "targettype": "exter",
        "agentgroupid": "5",
        "usertype": "agent",
        "user": "7001",
        "orgidentity": "demo",
        "pwdtype": "plaintext",
        "password": PASSWORD,
        "modeltype": "Campaign",
        "model_id": "10",
        "userdata": ATTEMPT,
        "callerid": "01012345678",
        "cidtype": "0",
        "trunkidentity": "trunk1",
    }


async def test_what_is_not_configured_is_not_asked_for() -> None:
    async with vendor() as peer:
        peer.says("|Retuen|1|Retuen|BackMsg_19")
        await dialled(peer, user_type="account", model_type="BusinessApp")
    form = peer.requests[0].form
    assert (form["usertype"], form["modeltype"], form["pwdtype"]) == ("account", "BusinessApp", "plaintext")
    assert form.keys().isdisjoint({"callerid", "cidtype", "trunkidentity"})


async def test_passwords_of_single_agents_hashed_where_the_server_wants_that() -> None:
    async with vendor() as peer:
        peer.says("|Retuen|1|Retuen|BackMsg_19")
        await dialled(peer, password_type="md5", passwords={"7001": "hello"})
    assert peer.requests[0].form["password"] == "5d41402abc4b2a76b9719d911017c592"


async def test_an_agent_without_a_password_is_not_available() -> None:
    async with vendor() as peer:
        answer = await dialled(peer, password=None, passwords={"7002": "other"})
    assert isinstance(answer, Refused)
    assert (answer.refusal, peer.requests) == (Refusal.AGENT, [])


@pytest.mark.parametrize(
    "text",
    [
        "|Retuen|1|Retuen|BackMsg_19",
        "|Return|1|Return|BackMsg_19\r\n",
        "\n|Retuen| 1 |Retuen|backmsg_00019",
        "|Retuen|1|Retuen|成功",
        "|Retuen|1|Retuen|",
    ],
)
async def test_a_yes_in_its_spellings(text: str) -> None:
    assert await answered(text) == Accepted()


@pytest.mark.parametrize("number", [16, 17, 18, 20, 22, 23, 24, 100, 118, 121])
async def test_the_agent_is_not_available(number: int) -> None:
    answer = await answered(f"|Retuen|2|Retuen|BackMsg_{number:02}")
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.AGENT
    assert answer.detail.startswith(f"BackMsg_{number:02}: ")
    assert "not documented" not in answer.detail


@pytest.mark.parametrize(("number", "meaning"), [(24, "there is no such agent"), (100, "exchange is not connected")])
async def test_what_a_message_means_is_said(number: int, meaning: str) -> None:
    answer = await answered(f"|Retuen|2|Retuen|BackMsg_{number}")
    assert isinstance(answer, Refused)
    assert answer.detail.endswith(meaning)


@pytest.mark.parametrize("number", [1, 2, 3, 28, 63, 67, 70, 73, 116])
async def test_the_configuration_is_wrong(number: int) -> None:
    answer = await answered(f"|Retuen|2|Retuen|BackMsg_{number:02}")
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFIGURATION
    assert "not documented" not in answer.detail
    assert isinstance(await answered(f"|Retuen|1|Retuen|BackMsg_{number:02}"), Unseen), "yes and no"


@pytest.mark.parametrize("message", ["BackMsg_125", "", f"no: {PASSWORD}\n!"])
async def test_a_no_that_is_not_documented_is_for_a_person(message: str) -> None:
    answer = await answered(f"|Retuen|2|Retuen|{message}")
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFIGURATION
    assert "not documented" in answer.detail
    assert PASSWORD not in answer.detail


@pytest.mark.parametrize(
    "text",
    [
        "|Retuen|1|Retuen|BackMsg_16",  # yes, and the agent is not signed in
        "|Retuen|2|Retuen|BackMsg_19",  # no, and the call was accepted
        "|Retuen|3|Retuen|BackMsg_19",
        f"|Retuen|{'3' * 5000}|Retuen|BackMsg_19",
        "<html>Fatal error</html>",
        "|Retuen|1",
        "",
    ],
)
async def test_nobody_knows(text: str) -> None:
    answer = await answered(text)
    assert isinstance(answer, Unseen)
    assert len(answer.detail) < 200


async def test_no_answer_is_unseen_and_is_not_asked_again() -> None:
    async with vendor() as peer:
        assert isinstance(await dialled(peer), Unseen)
        peer.falls_silent(seconds=5.0)
        async with asyncio.timeout(REQUEST_SECONDS / 2):
            assert isinstance(await dialled(peer, request_seconds=5.0), Unseen)
    assert len(peer.requests) == 2


@pytest.mark.parametrize(("status", "known"), [(404, Refusal.CONFIGURATION), (429, Refusal.NETWORK)])
async def test_a_status_that_says_no(status: int, known: Refusal) -> None:
    answer = await answered("|Retuen|1|Retuen|BackMsg_19", status=status)
    assert isinstance(answer, Refused)
    assert answer.refusal is known


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"number": "139&EVENT=HANGUP"}, Refusal.NUMBER),
        ({"number": "+1 2"}, Refusal.NUMBER),
        ({"agent": "7001&password="}, Refusal.AGENT),
        ({"agent": "7001\n"}, Refusal.AGENT),
        ({"attempt_id": "customer_id=109&pwd=asdfg"}, Refusal.CONFIGURATION),
    ],
)
async def test_what_cannot_be_dialled_is_refused_before_anything_is_sent(
    changed: dict[str, str], refusal: Refusal
) -> None:
    async with vendor() as peer:
        answer = await dialled(peer, order(**{"number": CHINESE} | changed))
    assert isinstance(answer, Refused)
    assert (answer.refusal, peer.requests) == (refusal, [])


async def test_nothing_is_known_of_a_call_afterwards_and_none_is_cut() -> None:
    async with vendor() as peer:
        dialler = DIALLER.build("makecall", config(url=peer.url))
        assert not dialler.idempotent
        assert await dialler.ask(attempt_id=ATTEMPT, vendor_ref="") == Standing()
        await dialler.hang_up(attempt_id=ATTEMPT, vendor_ref="")
        await dialler.close()
    assert peer.requests == []


def test_settings() -> None:
    assert PASSWORD not in repr(config(passwords={"7001": PASSWORD}))
    with pytest.raises(ValidationError, match="password"):
        config(password=None)
    with pytest.raises(ValidationError, match="region"):
        config(region=None)
    with pytest.raises(ValidationError, match="team"):
        config(team="a&b")
