"""Click2Call: what is asked, and what each answer means."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from pydantic import SecretStr, ValidationError

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Refused, Standing, Unseen
from cdrhub.model.disposition import Disposition
from cdrhub.sources.voicenter.dial import DIALLER, VoicenterDialler, VoicenterDiallerConfig
from support.dialling import ATTEMPT, Vendor, order, vendor

CODE = "the-accounts-code"


def config(**said: Any) -> VoicenterDiallerConfig:
    return VoicenterDiallerConfig(**{"type": "voicenter", "code": SecretStr(CODE)} | said)


async def dialled(peer: Vendor, one: DialOrder | None = None, **said: Any) -> Answer:
    dialler = DIALLER.build("click2call", config(url=f"{peer.url}/ForwardDialer/click2call.aspx", **said))
    try:
        return await dialler.dial(one or order(agent="SIPSIP101"))
    finally:
        await dialler.close()


async def answered(body: object, *, status: int = 200) -> Answer:
    async with vendor() as peer:
        peer.says(body if isinstance(body, str) else orjson.dumps(body), status=status)
        return await dialled(peer)


def error(number: object, text: str = "as it is") -> dict[str, object]:
    return {"ERRORCODE": number, "ERRORMESSAGE": text, "CALLID": ""}


async def test_an_order_is_asked_for_once_and_nothing_of_it_is_in_the_url() -> None:
    async with vendor() as peer:
        peer.says('{"ERRORCODE": 0, "ERRORMESSAGE": "OK", "CALLID": "20240601abc123def456"}')
        answer = await dialled(peer, caller_id="+97237654321", record=True, auto_answer=True)
    assert answer == Accepted(vendor_ref="20240601abc123def456")
    (request,) = peer.requests
    assert (request.method, request.target) == ("POST", "/ForwardDialer/click2call.aspx")
    assert request.headers["content-type"] == "application/json"
    assert orjson.loads(request.body) == {
        "code": CODE,
        "action": "call",
        "format": "json",
        "phone": "SIPSIP101",
        "target": "972541234567",
        "phonemaxdialtime": 60,
        "targetmaxdialtime": 60,
        "checkphonedevicestate": "true",
        "var_cdrhub_attempt": ATTEMPT,
        "targetcallerid": "97237654321",
        "phoneautoanswer": "true",
        "record": "true",
    }


@pytest.mark.parametrize(
    "body",
    [
        {"ERRORCODE": "0", "CALLID": "a1"},
        {"errorcode": 0, "callid": "a1"},
        "<response><struct><member><name>ERRORCODE</name><value><int>0</int></value></member>"
        "<member><name>CALLID</name><value><string>a1</string></value></member></struct></response>",
    ],
    ids=["text", "small letters", "xml"],
)
async def test_the_same_yes_in_other_spellings(body: object) -> None:
    assert await answered(body) == Accepted(vendor_ref="a1")


async def test_a_yes_without_a_call_id_is_a_yes_for_the_attempts_id_comes_back() -> None:
    assert await answered({"ERRORCODE": 0}) == Accepted()


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (1, Refusal.CONFIGURATION),
        (2, Refusal.NETWORK),
        (3, Refusal.AGENT),
        ("3", Refusal.AGENT),
        (4, Refusal.NUMBER),
        (-7, Refusal.CONFIGURATION),
        (99, Refusal.CONFIGURATION),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_error_code_is_a_no_whatever_the_status(number: object, refusal: Refusal, status: int) -> None:
    answer = await answered(error(number, f"no\nbecause {CODE} is so"), status=status)
    assert isinstance(answer, Refused)
    assert answer.refusal is refusal
    assert f"ERRORCODE {number}:" in answer.detail
    assert CODE not in answer.detail


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("Extension blocked for Click2Call", Refusal.AGENT),
        ("Number is blocked", Refusal.NUMBER),
        ("", Refusal.NUMBER),
    ],
)
async def test_an_extension_that_is_blocked_uses_no_number_up(text: str, refusal: Refusal) -> None:
    answer = await answered(error(4, text))
    assert isinstance(answer, Refused)
    assert answer.refusal is refusal


@pytest.mark.parametrize("status", [401, 403])
async def test_an_address_that_is_not_on_the_accounts_list(status: int) -> None:
    answer = await answered(error(0), status=status)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFIGURATION


@pytest.mark.parametrize(
    ("body", "status"),
    [("<html>sorry</html>", 200), ("", 200), ("[]", 200), (error("soon"), 200), (error(0), 502), ("", 500)],
)
async def test_nobody_knows(body: object, status: int) -> None:
    assert isinstance(await answered(body, status=status), Unseen)


@pytest.mark.parametrize("name", ["ERRORCODE", "ERRORMESSAGE", "CALLID"])
async def test_words_that_are_nested_as_deeply_as_json_goes(name: str) -> None:
    deep = b"[" * 1_000 + b"]" * 1_000
    said = orjson.dumps(error(3)).replace(b"}", b',"%b":%b}' % (name.encode(), deep))
    answer = await answered(said.decode())
    assert isinstance(answer, Unseen if name == "ERRORCODE" else Refused)


async def test_an_answer_of_blanks_is_read_at_once() -> None:
    begun = time.thread_time()
    assert isinstance(await answered("<name>ERRORCODE</name><value>" + " " * 65_000), Unseen)
    assert time.thread_time() - begun < 2


async def test_no_answer_is_unseen_and_is_not_asked_again() -> None:
    async with vendor() as peer:
        assert isinstance(await dialled(peer), Unseen)
        peer.falls_silent(seconds=5.0)
        assert isinstance(await dialled(peer, request_seconds=5.0), Unseen)
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"number": '972","code":"x'}, Refusal.NUMBER),
        ({"number": "+9725\r\n4"}, Refusal.NUMBER),
        ({"number": ""}, Refusal.NUMBER),
        ({"agent": "SIPSIP101&target=1"}, Refusal.AGENT),
        ({"agent": ""}, Refusal.AGENT),
        ({"attempt_id": "a b"}, Refusal.CONFIGURATION),
    ],
)
async def test_what_cannot_be_dialled_is_refused_before_anything_is_sent(
    changed: dict[str, str], refusal: Refusal
) -> None:
    async with vendor() as peer:
        answer = await dialled(peer, order(**{"agent": "SIPSIP101"} | changed))
    assert isinstance(answer, Refused)
    assert (answer.refusal, peer.requests) == (refusal, [])


async def stands(body: object, *, status: int = 200, call_id: str = "a1") -> tuple[Standing, Vendor]:
    """What the dialler says of a call after this answer of the Call Log."""
    async with vendor() as peer:
        peer.says(orjson.dumps(body), status=status)
        dialler = VoicenterDialler("click2call", config(call_log_url=f"{peer.url}/hub/cdr/"), asked_every=0.01)
        standing = await dialler.ask(attempt_id=ATTEMPT, vendor_ref=call_id)
        assert standing == await dialler.ask(attempt_id=ATTEMPT, vendor_ref=call_id)
        await dialler.close()
    return standing, peer


def leg(number: int, status: str, *, call_id: str = "a1") -> dict[str, object]:
    return {"CallID": call_id, "CdrType": number, "Type": f"Click2Call leg{number - 8}", "DialStatus": status}


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([leg(9, "ANSWER"), leg(10, "NOANSWER")], Disposition.NO_ANSWER),
        ([leg(10, "ANSWER"), leg(9, "ANSWER")], Disposition.ANSWERED),
        ([leg(10, "Busy")], Disposition.BUSY),
        ([leg(10, "NOTCALLED"), leg(9, "NOANSWER")], Disposition.NOT_DIALLED),
        ([leg(9, "NOANSWER")], Disposition.NOT_DIALLED),
        ([{"callid": "a1", "type": "Click2Call leg2", "dialstatus": "CANCEL"}], Disposition.CANCELLED),
        ([leg(9, "ANSWER")], None),
        ([leg(10, "A NEW WORD")], None),
        ([leg(10, "BUSY", call_id="a2"), {"CallID": "a1", "CdrType": 4, "DialStatus": "BUSY"}, "row"], None),
        ([], None),
    ],
)
async def test_the_call_log_knows_what_became_of_a_call(rows: list[object], outcome: Disposition | None) -> None:
    standing, peer = await stands({"ERROR_NUMBER": 0, "CDR_LIST": rows})
    assert standing == Standing(outcome=outcome)
    asked = orjson.loads(peer.requests[0].body)
    assert peer.requests[0].target == "/hub/cdr/"
    assert (asked["code"], asked["search"]["callID"], asked["search"]["cdrTypes"]) == (CODE, "a1", [9, 10])
    begun, until = (datetime.fromisoformat(asked["search"][name] + "Z") for name in ("fromdate", "todate"))
    assert begun < datetime.now(UTC) - timedelta(hours=24) < datetime.now(UTC) < until


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ERROR_NUMBER": 1}, 403),
        ({"ERROR_NUMBER": 2, "CDR_LIST": None}, 200),
        ([], 200),
        ({"CDR_LIST": 5}, 200),
        ({}, 500),
    ],
)
async def test_a_call_log_that_does_not_answer_knows_nothing(body: object, status: int) -> None:
    standing, _ = await stands(body, status=status)
    assert standing == Standing()


async def test_a_call_without_an_id_is_not_asked_about() -> None:
    standing, peer = await stands({"CDR_LIST": [leg(10, "BUSY", call_id="")]}, call_id="")
    assert (standing, peer.requests) == (Standing(), [])


async def test_no_call_is_cut() -> None:
    async with vendor() as peer:
        dialler = DIALLER.build("click2call", config(url=peer.url))
        await dialler.hang_up(attempt_id=ATTEMPT, vendor_ref="a1")
        await dialler.close()
    assert peer.requests == []


def test_settings() -> None:
    assert CODE not in repr(config())
    with pytest.raises(ValidationError, match="caller_id"):
        config(caller_id="03-765 4321")
    with pytest.raises(ValidationError, match="ring_seconds"):
        config(ring_seconds=10)
