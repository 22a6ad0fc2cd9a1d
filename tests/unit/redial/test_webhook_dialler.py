"""The webhook dialler: what is posted, how it is signed, and what each answer means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Refused, Standing, Unseen
from cdrhub.redial.webhook_dialler import DIALLER
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig
from support.dialling import ATTEMPT, Vendor, order, vendor

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def config(**said: Any) -> WebhookDiallerConfig:
    return WebhookDiallerConfig(**{"url": "https://crm.example/dial", "secret": SECRET} | said)


async def dialled(peer: Vendor, one: DialOrder | None = None, **said: Any) -> Answer:
    dialler = DIALLER.build("crm", config(**{"url": f"{peer.url}/dial?key=hidden", "allow_private": True} | said))
    try:
        return await dialler.dial(one or order())
    finally:
        await dialler.close()


async def answered(body: object, *, status: int = 200) -> Answer:
    async with vendor() as peer:
        peer.says(body if isinstance(body, str) else orjson.dumps(body), status=status)
        return await dialled(peer)


async def test_an_order_is_posted_signed_and_named_by_its_attempt() -> None:
    async with vendor() as peer:
        peer.says('{"vendor_ref": "call-7"}')
        one = order(reference="media-9", campaign="Winback", metadata={"client": 5})
        assert await dialled(peer, one) == Accepted(vendor_ref="call-7")
    (request,) = peer.requests
    assert (request.method, request.target) == ("POST", "/dial?key=hidden")
    assert request.headers["webhook-id"] == ATTEMPT
    said = Webhook(SECRET).verify(request.body, dict(request.headers))
    assert said["type"] == "redial.dial"
    assert said["data"] == {
        "attempt_id": ATTEMPT,
        "case_code": "C-1",
        "source": "here",
        "number": "+972541234567",
        "agent": "7001",
        "reference": "media-9",
        "campaign": "Winback",
        "metadata": {"client": 5},
    }
    sent_at = datetime.fromisoformat(said["timestamp"])
    assert int(request.headers["webhook-timestamp"]) == int(sent_at.timestamp())
    assert sent_at.tzinfo == UTC


async def test_the_same_order_has_the_same_id_again() -> None:
    async with vendor() as peer:
        peer.says("", status=204)
        assert await dialled(peer, idempotent=True) == Accepted()
        assert await dialled(peer, idempotent=True) == Accepted()
    assert [request.headers["webhook-id"] for request in peer.requests] == [ATTEMPT, ATTEMPT]
    assert DIALLER.build("crm", config(idempotent=True)).idempotent
    assert not DIALLER.build("crm", config()).idempotent


@pytest.mark.parametrize(
    ("body", "reference"),
    [
        ("", ""),
        ("thank you", ""),
        ('{"vendor_ref": 17}', "17"),
        ('{"vendor_ref": ["a"]}', ""),
        ("[1]", ""),
        ('{"vendor_ref": "a", "refusal": null, "detail": null}', "a"),
    ],
)
async def test_a_success_is_a_yes_whatever_its_body(body: str, reference: str) -> None:
    assert await answered(body, status=202) == Accepted(vendor_ref=reference)


@pytest.mark.parametrize("refusal", list(Refusal))
@pytest.mark.parametrize("status", [200, 409, 422])
async def test_a_refusal_in_its_own_words(refusal: Refusal, status: int) -> None:
    answer = await answered({"refusal": str(refusal), "detail": "away\nuntil noon"}, status=status)
    assert answer == Refused(refusal=refusal, detail="away until noon")


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, Refusal.CONFIGURATION),
        (401, Refusal.CONFIGURATION),
        (410, Refusal.CONFIGURATION),
        (302, Refusal.CONFIGURATION),
        (408, Refusal.NETWORK),
        (429, Refusal.NETWORK),
    ],
)
async def test_a_status_that_says_no(status: int, refusal: Refusal) -> None:
    answer = await answered("no", status=status)
    assert isinstance(answer, Refused)
    assert answer.refusal is refusal


@pytest.mark.parametrize(
    ("body", "status"),
    [("", 500), ("", 303), ({"refusal": "agent"}, 502), ("", 503), ({"refusal": "tired"}, 200), ({"refusal": ""}, 422)],
)
async def test_nobody_knows(body: object, status: int) -> None:
    assert isinstance(await answered(body, status=status), Unseen)


async def test_no_answer_is_unseen_and_says_nothing_of_the_url() -> None:
    async with vendor() as peer:
        cut = await dialled(peer)
        peer.falls_silent(seconds=5.0)
        late = await dialled(peer, request_seconds=5.0)
    assert isinstance(cut, Unseen)
    assert isinstance(late, Unseen)
    assert "hidden" not in cut.detail + late.detail


async def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    async with vendor() as peer:
        peer.says("{}")
        answer = await dialled(peer, allow_private=False)
    assert isinstance(answer, Refused)
    assert (answer.refusal, peer.requests) == (Refusal.CONFIGURATION, [])


async def test_nothing_is_known_of_a_call_afterwards() -> None:
    dialler = DIALLER.build("crm", config())
    assert await dialler.ask(attempt_id=ATTEMPT, vendor_ref="call-7") == Standing()
    await dialler.hang_up(attempt_id=ATTEMPT, vendor_ref="call-7")
    await dialler.close()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, not at all"])
def test_a_secret_that_signs_badly_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValidationError, match="Standard Webhooks") as caught:
        config(secret=secret)
    assert "not base64" not in str(caught.value)


def test_settings_hide_what_is_secret() -> None:
    shown = repr(config(url="https://crm.example/dial?key=hidden"))
    assert "hidden" not in shown
    assert SECRET not in shown
