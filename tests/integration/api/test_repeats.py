"""Idempotency-Key: the same request is carried out once and answered alike, whoever is in the way meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from cdrhub.store import request_keys
from cdrhub.store.event_tables import request_keys as kept
from support.api import ACME, ADMIN, NUMBERS, Client

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
GIVEN = {"code": "C-1", "source": "lagos", "numbers": [{"number": NUMBERS[0]}]}


async def test_the_same_request_is_answered_alike(api: Client) -> None:
    first = await api.ask("POST", "/cases", GIVEN, headers=KEY)
    second = await api.ask("POST", "/cases", GIVEN, headers=KEY)
    assert (second.status, second.body) == (first.status, first.body) == (201, first.body)
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert (await api.ask("POST", "/cases", GIVEN)).problem == "case-exists"


async def test_an_answer_without_a_body_is_repeated_too(api: Client) -> None:
    await api.made("C-1")
    assert [(await api.ask("DELETE", "/cases/C-1", headers=KEY)).status for _ in range(2)] == [204, 204]
    assert (await api.ask("DELETE", "/cases/C-1")).status == 404


async def test_a_key_is_of_one_request(api: Client) -> None:
    await api.ask("POST", "/cases", GIVEN, headers=KEY)
    for method, path, body in (
        ("POST", "/cases", {**GIVEN, "code": "C-2"}),
        ("POST", "/cases?tenant=", GIVEN),
        ("PUT", "/cases/C-1", {"source": "lagos", "numbers": []}),
        ("POST", "/cases/C-1/dial", None),
    ):
        other = await api.ask(method, path, body, headers=KEY)
        assert (other.status, other.problem) == (422, "key-reused")
    assert (await api.ask("GET", "/cases/C-1")).body["round"] == 0


async def test_a_request_that_was_refused_leaves_its_key_free(api: Client) -> None:
    assert (await api.dialled("C-1", headers=KEY)).problem == "no-such-case"
    await api.made("C-1")
    assert (await api.dialled("C-1", headers=KEY)).status == 200


async def test_ten_repeats_at_once_dial_once_and_hear_the_same(api: Client) -> None:
    await api.made("C-1")
    answers = await asyncio.gather(*(api.dialled("C-1", headers=KEY) for _ in range(10)))
    done = [answer for answer in answers if answer.status == 200]
    assert done
    assert all(answer.problem == "conflict" for answer in answers if answer.status != 200)
    assert all(answer.body == done[0].body for answer in done)
    shown = await api.ask("GET", "/cases/C-1")
    assert (len(shown.body["attempts"]), shown.body["round"]) == (1, 1)


async def test_tenants_do_not_share_keys(api: Client) -> None:
    await api.ask("POST", "/cases", GIVEN, headers=KEY)
    theirs = {**GIVEN, "source": "tel-aviv", "numbers": [{"number": "0521234567"}]}
    made = await api.ask("POST", "/cases", theirs, headers=KEY, token=ACME)
    assert (made.status, made.body["tenant"]) == (201, "acme")


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
async def test_a_key_that_cannot_be_kept_is_refused(api: Client, key: str) -> None:
    refused = await api.ask("POST", "/cases", GIVEN, headers={"Idempotency-Key": key})
    assert (refused.status, refused.problem) == (422, "invalid")
    assert (await api.ask("GET", "/cases")).body["cases"] == []


async def test_old_answers_are_forgotten(api: Client) -> None:
    await api.ask("POST", "/cases", GIVEN, headers=KEY)
    database = api.peer.store.database
    for days, left in ((request_keys.KEPT_DAYS - 1, 1), (request_keys.KEPT_DAYS + 1, 0)):
        await request_keys.forget(database, now=datetime.now(UTC) + timedelta(days=days))
        async with database.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(kept)) == left
    again = await api.ask("POST", "/cases", GIVEN, headers=KEY, token=ADMIN)
    assert again.problem == "case-exists"
