"""What every installed dialler promises, ours and those of others: tried against nobody, and against silence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cdrhub.model.dialling import Refusal, Refused, Standing, Unseen
from cdrhub.redial.diallers import dialler_type, names
from cdrhub.sources.dialler import Dialler
from cdrhub.sources.dialling.orders import PhoneDiallerConfig
from support.dialling import ATTEMPT, Vendor, order, vendor
from support.servers import free_port

SECRET = "a-secret-that-nobody-may-see"
SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

TABLES: dict[str, dict[str, Any]] = {
    "webhook": {"url": "http://127.0.0.1:{port}/?key=" + SECRET, "secret": SIGNING, "allow_private": True},
    "voicenter": {"url": "http://127.0.0.1:{port}/", "call_log_url": "http://127.0.0.1:{port}/", "code": SECRET},
    "astercc": {
        "url": "http://127.0.0.1:{port}/asterccinterfaces",
        "team": "demo",
        "model_id": "10",
        "password": SECRET,
        "number_form": "digits",
    },
    "3cx": {"url": "http://127.0.0.1:{port}", "client_id": "900", "client_secret": SECRET},
    "freeswitch": {"host": "127.0.0.1", "port": "{port}", "password": SECRET},
}
"""A table of each type, for a server at a loopback port."""

PHONE = [name for name in TABLES if issubclass(dialler_type(name).config_model, PhoneDiallerConfig)]


def config(name: str, *, port: int) -> Any:
    table = {
        key: value.replace("{port}", str(port)) if isinstance(value, str) else value
        for key, value in TABLES[name].items()
    }
    return dialler_type(name).config_model.model_validate({"type": name} | table)


def built(name: str, *, port: int) -> Dialler:
    return dialler_type(name).build("it", config(name, port=port))


def port_of(peer: Vendor) -> int:
    return int(peer.url.rpartition(":")[2])


def test_every_dialler_that_is_installed_is_tried() -> None:
    assert set(names()) == set(TABLES)
    for name in names():
        kind = dialler_type(name)
        assert kind.name == name == kind.config_model.model_fields["type"].default


@pytest.mark.parametrize("name", TABLES)
async def test_where_nobody_listens_nothing_was_dialled_and_nothing_is_known(name: str) -> None:
    dialler = built(name, port=free_port())
    answer = await dialler.dial(order(agent="101"))
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.NETWORK
    assert SECRET not in answer.detail
    assert await dialler.ask(attempt_id=ATTEMPT, vendor_ref="101:17") == Standing()
    await dialler.hang_up(attempt_id=ATTEMPT, vendor_ref="101:17")
    await dialler.close()
    await dialler.close()


@pytest.mark.parametrize("name", TABLES)
async def test_a_server_that_is_not_what_it_should_be_is_an_answer(name: str) -> None:
    async with vendor() as peer:
        peer.says("<html>Welcome</html>", status=500)
        dialler = built(name, port=port_of(peer))
        answer = await asyncio.wait_for(dialler.dial(order(agent="101")), 30)
        await dialler.close()
    assert isinstance(answer, Refused | Unseen)
    assert SECRET not in answer.detail


@pytest.mark.parametrize("name", TABLES)
async def test_a_request_can_be_cancelled(name: str) -> None:
    async with vendor() as peer:
        peer.silent = True
        dialler = built(name, port=port_of(peer))
        dialling = asyncio.create_task(dialler.dial(order(agent="101")))
        await asyncio.sleep(0.2)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        await dialler.close()


@pytest.mark.parametrize("name", PHONE)
@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"number": "+33 6"}, Refusal.NUMBER),
        ({"number": "0612345678\r\nbgapi originate x"}, Refusal.NUMBER),
        ({"number": "06123456&EVENT=HANGUP"}, Refusal.NUMBER),
        ({"number": ""}, Refusal.NUMBER),
        ({"agent": "101@evil"}, Refusal.AGENT),
        ({"agent": "101 0900"}, Refusal.AGENT),
        ({"agent": "../101"}, Refusal.AGENT),
        ({"agent": ""}, Refusal.AGENT),
    ],
)
async def test_what_could_be_more_than_a_number_or_an_agent_is_refused_unsent(
    name: str, changed: dict[str, str], refusal: Refusal
) -> None:
    async with vendor() as peer:
        peer.says("{}")
        dialler = built(name, port=port_of(peer))
        answer = await dialler.dial(order(**{"agent": "101"} | changed))
        await dialler.close()
    assert isinstance(answer, Refused)
    assert (answer.refusal, peer.requests) == (refusal, [])


@pytest.mark.parametrize("name", TABLES)
def test_a_table_does_not_show_its_secret(name: str) -> None:
    assert SECRET not in repr(config(name, port=1))
    assert SIGNING not in repr(config(name, port=1))
