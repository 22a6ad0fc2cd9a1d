"""The dialler `3cx`, against a scripted PBX with a Call Control API and a make_call link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused, Standing, Unseen
from cdrhub.redial.diallers import dialler_type
from cdrhub.sources.dialler import Dialler
from cdrhub.sources.threecx.dial import DIALLER, MAX_TOKENS, CallReference, ThreeCXDiallerConfig
from support.dialling import order, vendor
from support.servers import free_port

CLIENT, SECRET, PIN = "900", "api-key-of-the-client", "4711"
SUCCESS = {
    "finalstatus": "Success",
    "reason": "None",
    "reasontext": "",
    "result": {"id": 5, "status": "Dialing", "dn": "101", "party_dn": "", "callid": 17, "legid": 1},
}
ORDER = order(agent="101")


@dataclass
class Pbx:
    """A 3CX: one live token, and what it is told to answer."""

    status: int = 200
    said: Any = field(default_factory=lambda: SUCCESS)
    token_status: int = 200
    token_said: Any = None  #: None: a token
    refuses_tokens: bool = False
    others: int = 0  #: times that somebody else asks for a token of this client, each right after one was given
    redirect: str | None = None
    participants: Any = ()
    url: str = ""
    tokens: int = 0
    asked: list[tuple[str, str, Any]] = field(default_factory=list)  #: method, path and query, what was said

    @property
    def token(self) -> str:
        return f"token-{self.tokens}.x"

    async def connect(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        if form != {"client_id": CLIENT, "client_secret": SECRET, "grant_type": "client_credentials"}:
            return web.Response(status=400)
        self.tokens += 1
        said = {"token_type": "Bearer", "expires_in": 60, "access_token": self.token}
        if self.others:
            self.others -= 1
            self.tokens += 1
        return web.json_response(said if self.token_said is None else self.token_said, status=self.token_status)

    async def control(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs, await request.text()))
        if self.refuses_tokens or request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        if request.method == "GET":
            return web.json_response({"dn": "101", "participants": list(self.participants)})
        if isinstance(self.said, str):
            return web.Response(status=self.status, text=self.said)
        return web.json_response(self.said, status=self.status)

    async def link(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs, ""))
        if self.redirect is not None and request.path == "/ivr/PbxAPI.aspx":
            return web.Response(status=302, headers={"Location": self.redirect})
        return web.Response(status=self.status, text="OK")


@asynccontextmanager
async def pbx(**said: Any) -> AsyncIterator[Pbx]:
    peer = Pbx(**said)
    app = web.Application()
    app.router.add_post("/connect/token", peer.connect)
    app.router.add_route("*", "/callcontrol/{rest:.*}", peer.control)
    app.router.add_get("/ivr/{rest:.*}", peer.link)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield peer
    finally:
        await runner.cleanup()


@asynccontextmanager
async def dialler_to(url: str, **values: Any) -> AsyncIterator[Dialler]:
    known = {"client_id": CLIENT, "client_secret": SECRET} if "api" not in values else {"pins": {"101": PIN}}
    dialler = DIALLER.build("pbx", ThreeCXDiallerConfig(url=url, **(known | values)))
    try:
        yield dialler
    finally:
        await dialler.close()


def refusal_of(answer: Answer) -> Refusal:
    assert isinstance(answer, Refused)
    assert SECRET not in answer.detail
    assert PIN not in answer.detail
    return answer.refusal


def test_it_is_registered() -> None:
    assert dialler_type("3cx") is DIALLER


# -- the Call Control API ----------------------------------------------------------------------------------------------


async def test_the_extension_calls_the_number_and_the_pbxs_call_is_remembered() -> None:
    async with pbx() as peer, dialler_to(peer.url) as dialler:
        assert await dialler.dial(ORDER) == Accepted(vendor_ref="101:17")
        assert await dialler.dial(ORDER) == Accepted(vendor_ref="101:17")
    assert peer.asked == [("POST", "/callcontrol/101/makecall", '{"destination":"+972541234567"}')] * 2
    assert peer.tokens == 1


async def test_numbers_are_written_as_the_outbound_rules_want_them() -> None:
    async with pbx() as peer, dialler_to(peer.url, number_form="national", region="IL", prefix="9") as dialler:
        await dialler.dial(ORDER)
    assert peer.asked[0][2] == '{"destination":"90541234567"}'


async def test_a_token_that_is_refused_is_replaced() -> None:
    async with pbx() as peer, dialler_to(peer.url) as dialler:
        await dialler.dial(ORDER)
        peer.tokens += 1  # somebody else asked for a token of this client
        assert await dialler.dial(ORDER) == Accepted(vendor_ref="101:17")
        assert peer.tokens == 3
        assert len(peer.asked) == 3


async def test_orders_at_once_share_a_token() -> None:
    async with pbx() as peer, dialler_to(peer.url) as dialler:
        answers = await asyncio.gather(*(dialler.dial(ORDER) for _ in range(5)))
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert peer.tokens == 1


async def test_another_hub_that_takes_the_fresh_token_too_is_waited_out() -> None:
    async with pbx(others=2) as peer, dialler_to(peer.url) as dialler:
        assert await dialler.dial(ORDER) == Accepted(vendor_ref="101:17")
        assert len(peer.asked) == 3


async def test_a_pbx_that_refuses_every_token_is_the_configuration() -> None:
    async with pbx(refuses_tokens=True) as peer, dialler_to(peer.url) as dialler:
        assert refusal_of(await dialler.dial(ORDER)) is Refusal.CONFIGURATION
        assert len(peer.asked) == MAX_TOKENS


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ({"token_status": 400}, Refusal.CONFIGURATION),
        ({"token_status": 401}, Refusal.CONFIGURATION),
        ({"token_said": {"error": "?"}}, Refusal.CONFIGURATION),
        ({"token_said": {"access_token": "a\r\nX-Evil: 1"}}, Refusal.CONFIGURATION),
        ({"token_said": []}, Refusal.CONFIGURATION),
        ({"token_status": 502}, Refusal.NETWORK),
        ({"token_status": 503}, Refusal.NETWORK),
    ],
)
async def test_without_a_token_nothing_has_left(said: dict[str, Any], refusal: Refusal) -> None:
    async with pbx(**said) as peer, dialler_to(peer.url) as dialler:
        assert refusal_of(await dialler.dial(ORDER)) is refusal
        assert peer.asked == []


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, Refusal.CONFIGURATION),
        (403, Refusal.CONFIGURATION),
        (404, Refusal.AGENT),
        (422, Refusal.NUMBER),
        (424, Refusal.AGENT),
        (429, Refusal.NETWORK),
        (302, Refusal.CONFIGURATION),
    ],
)
async def test_what_a_status_means(status: int, refusal: Refusal) -> None:
    async with pbx(status=status, said="no") as peer, dialler_to(peer.url) as dialler:
        assert refusal_of(await dialler.dial(ORDER)) is refusal


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [
        ("NotAvailable", Refusal.AGENT),
        ("not_registered_dev", Refusal.AGENT),
        ("not_found", Refusal.NUMBER),
        ("no_route", Refusal.NETWORK),
        ("RouteBusy", Refusal.NETWORK),
    ],
)
@pytest.mark.parametrize("finalstatus", ["Failure", "Rejected", -1, 0])
async def test_http_200_alone_is_no_success(finalstatus: object, reason: str, refusal: Refusal) -> None:
    said = {"finalstatus": finalstatus, "reason": reason, "reasontext": "so it is\n" * 100}
    async with pbx(said=said) as peer, dialler_to(peer.url) as dialler:
        answer = await dialler.dial(ORDER)
    assert refusal_of(answer) is refusal
    assert isinstance(answer, Refused)
    assert "\n" not in answer.detail
    assert len(answer.detail) < 600


@pytest.mark.parametrize("reason", ["busy", "Timeout", "Declined", "failed", "A word of tomorrow", ""])
async def test_a_reason_that_may_be_the_persons_is_no_refusal(reason: str) -> None:
    """Dialled again as if only the agent had been away, the person would ring again."""
    async with pbx(said={"finalstatus": "Failure", "reason": reason}) as peer, dialler_to(peer.url) as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Unseen)
    assert reason in answer.detail


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, "<html>OK</html>"),
        (200, []),
        (202, {}),
        (200, {"finalstatus": "Perhaps"}),
        (200, {"finalstatus": None}),
        (500, SUCCESS),
        (502, "bad gateway"),
    ],
)
async def test_what_cannot_be_read_was_not_seen(status: int, said: Any) -> None:
    async with pbx(status=status, said=said) as peer, dialler_to(peer.url) as dialler:
        assert isinstance(await dialler.dial(ORDER), Unseen)


@pytest.mark.parametrize("result", [None, [], {}, {"callid": True}, {"callid": -1}, {"callid": "17; drop"}])
async def test_a_success_that_names_no_call_is_one(result: object) -> None:
    said = {"finalstatus": "success", "result": result}
    async with pbx(status=202, said=said) as peer, dialler_to(peer.url) as dialler:
        assert await dialler.dial(ORDER) == Accepted()


@pytest.mark.parametrize("agent", ["", "101/makecall?x=", "../x", "101%2f", "101\r\nX: 1", "१०१"])
async def test_an_agent_writes_no_url(agent: str) -> None:
    async with pbx() as peer, dialler_to(peer.url) as dialler:
        assert refusal_of(await dialler.dial(order(agent=agent))) is Refusal.AGENT
        assert (peer.asked, peer.tokens) == ([], 0)


async def test_a_number_writes_no_request() -> None:
    async with pbx() as peer, dialler_to(peer.url) as dialler:
        assert refusal_of(await dialler.dial(order(agent="101", number='1","x":"'))) is Refusal.NUMBER
        assert (peer.asked, peer.tokens) == ([], 0)


async def test_nobody_there_is_the_network() -> None:
    async with dialler_to(f"http://127.0.0.1:{free_port()}") as dialler:
        assert refusal_of(await dialler.dial(ORDER)) is Refusal.NETWORK
        assert await dialler.ask(attempt_id="", vendor_ref="101:17") == Standing()
        await dialler.hang_up(attempt_id="", vendor_ref="101:17")


async def test_a_pbx_is_asked_for_the_call_and_no_other_is_dropped() -> None:
    others = [{"id": 4, "callid": 16}, "?", {"id": 6}]
    async with pbx(participants=others) as peer, dialler_to(peer.url) as dialler:
        assert await dialler.ask(attempt_id="", vendor_ref="101:17") == Standing()
        await dialler.hang_up(attempt_id="", vendor_ref="101:17")
        assert {method for method, _, _ in peer.asked} == {"GET"}
        peer.participants = [*others, {"id": 7, "callid": 17}]
        assert await dialler.ask(attempt_id="", vendor_ref="101:17") == Standing(live=True)
        await dialler.hang_up(attempt_id="", vendor_ref="101:17")
        assert peer.asked[-1] == ("POST", "/callcontrol/101/participants/7/drop", "{}")


@pytest.mark.parametrize("reference", ["", "17", "101", "../x:1", "101:17:1", "101:x"])
async def test_a_reference_that_is_none_asks_nothing(reference: str) -> None:
    assert CallReference.read(reference) is None
    async with pbx() as peer, dialler_to(peer.url) as dialler:
        assert await dialler.ask(attempt_id="", vendor_ref=reference) == Standing()
        await dialler.hang_up(attempt_id="", vendor_ref=reference)
        assert (peer.asked, peer.tokens) == ([], 0)


# -- the make_call link ------------------------------------------------------------------------------------------------


QUERY = "func=make_call&from=101&to=%2B972541234567&pin=4711"


async def test_the_link_is_opened_with_the_pin_of_the_extension() -> None:
    async with pbx() as peer, dialler_to(peer.url, api="make_call") as dialler:
        assert await dialler.dial(ORDER) == Accepted()
        assert await dialler.ask(attempt_id="", vendor_ref="") == Standing()
        await dialler.hang_up(attempt_id="", vendor_ref="")
    assert peer.asked == [("GET", f"/ivr/PbxAPI.aspx?{QUERY}", "")]


async def test_the_redirect_into_a_session_is_followed() -> None:
    path = "/ivr/(S(abc123def))/PbxAPI.aspx"
    async with pbx(redirect=f"{path}?from=666") as peer, dialler_to(peer.url, api="make_call") as dialler:
        assert await dialler.dial(ORDER) == Accepted()
    assert peer.asked[-1] == ("GET", f"{path}?{QUERY}", "")


@pytest.mark.parametrize(
    "location",
    ["http://192.0.2.1/ivr/(S(a))/PbxAPI.aspx", "/elsewhere", "//evil.example/ivr/(S(a))/PbxAPI.aspx", "http://[", ""],
)
async def test_a_redirect_to_anywhere_else_is_not_followed(location: str) -> None:
    async with pbx(redirect=location) as peer, dialler_to(peer.url, api="make_call") as dialler:
        assert refusal_of(await dialler.dial(ORDER)) is Refusal.CONFIGURATION
    assert len(peer.asked) == 1


async def test_a_pin_writes_no_link() -> None:
    async with pbx() as peer, dialler_to(peer.url, api="make_call", pins={"101": "1&to=666#"}) as dialler:
        assert await dialler.dial(ORDER) == Accepted()
    assert peer.asked[0][1].endswith("to=%2B972541234567&pin=1%26to%3D666%23")


async def test_an_extension_without_a_pin_is_not_available() -> None:
    async with pbx() as peer, dialler_to(peer.url, api="make_call") as dialler:
        assert refusal_of(await dialler.dial(order(agent="102"))) is Refusal.AGENT
        assert peer.asked == []


async def test_a_pbx_that_hangs_up_may_have_dialled() -> None:
    async with vendor() as peer, dialler_to(peer.url, api="make_call") as dialler:
        answer = await dialler.dial(ORDER)
    assert isinstance(answer, Unseen)
    assert PIN not in answer.detail
    assert len(peer.requests) == 1


async def test_a_pbx_that_says_nothing_may_have_dialled() -> None:
    async with vendor() as peer, dialler_to(peer.url, api="make_call", request_seconds=5.0) as dialler:
        peer.falls_silent(seconds=5.0)
        assert isinstance(await dialler.dial(ORDER), Unseen)


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"client_id": CLIENT},
        {"client_id": CLIENT, "client_secret": SECRET, "pins": {"101": PIN}},
        {"api": "make_call"},
        {"api": "make_call", "pins": {"101": ""}},
        {"api": "make_call", "pins": {"101": PIN}, "client_id": CLIENT},
        {"client_id": CLIENT, "client_secret": SECRET, "url": "https://pbx.example.com/webclient"},
        {"client_id": CLIENT, "client_secret": SECRET, "url": "https://user:x@pbx.example.com"},
        {"client_id": CLIENT, "client_secret": SECRET, "url": "ftp://pbx.example.com"},
        {"client_id": CLIENT, "client_secret": SECRET, "number_form": "national"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ThreeCXDiallerConfig(**({"url": "https://pbx.example.com"} | values))
    assert SECRET not in str(caught.value)
    assert PIN not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    known = ThreeCXDiallerConfig(url="https://pbx.example.com", client_id=CLIENT, client_secret=SECRET)
    assert SECRET not in repr(known)
    linked = ThreeCXDiallerConfig(url="https://pbx.example.com", api="make_call", pins={"101": PIN})
    assert PIN not in repr(linked)
