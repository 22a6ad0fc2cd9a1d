"""Who may do what: every operation refuses a role below its own, and a token of one tenant meets no other's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from cdrhub.config import Role
from cdrhub.web.api.operation import Operation
from cdrhub.web.api.routes import OPERATIONS
from support import ledger
from support.api import ACME, ADMIN, NUMBERS, OPERATE, READ, Client

THEIRS = "0521234567"
NOBODY = "0199aaaa-0000-7000-8000-000000000001"
_OF_ROLE = {Role.READ: READ, Role.OPERATE: OPERATE, Role.ADMIN: ADMIN}


def path_of(operation: Operation, *, code: str = "C-1", id: str = NOBODY) -> str:  # noqa: A002 - the path's own word
    return operation.path.format(code=quote(code, safe=""), id=id)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_needs_its_role(api: Client, operation: Operation) -> None:
    nobody = await api.ask(operation.method, path_of(operation), token=None)
    assert (nobody.status, nobody.problem) == (401, "token")
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await api.ask(operation.method, path_of(operation), token="x" * 20)).status == 401
    for role, token in _OF_ROLE.items():
        answered = await api.ask(operation.method, path_of(operation), token=token)
        enough = list(Role).index(role) >= list(Role).index(operation.role)
        assert (answered.status == 403) is not enough, (role, answered)
    assert api.peer.woken <= 2  # pausing and resuming everything need no more than their role


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_no_operation_works_for_another_tenant_by_name(api: Client, operation: Operation) -> None:
    path = path_of(operation)
    refused = await api.ask(operation.method, f"{path}?tenant=globex&read_as=tel-aviv&number=1", token=ACME)
    assert refused.status in (403, 422)  # 422: the operation's query has no such names
    own = await api.ask(operation.method, f"{path}?tenant=globex", token=ACME)
    assert own.status in (403, 422)


@dataclass(frozen=True, kw_only=True)
class Strange:
    """What belongs to no tenant of the token that asks."""

    code: str
    attempt_id: str
    call_id: str


async def strange(api: Client) -> Strange:
    made = await api.made("C-1", *NUMBERS)
    await api.dialled("C-1")
    case = await api.ask("GET", "/cases/C-1", token=ADMIN)
    forbidden = {"number": NUMBERS[0], "read_as": "lagos"}
    assert (await api.ask("POST", "/do-not-call", forbidden, token=ADMIN)).status == 200
    paused = {"scope": "source", "name": "lagos", "why": "secret"}
    assert (await api.ask("POST", "/redial/pause", paused, token=ADMIN)).status == 200
    assert (await api.ask("POST", "/redial/pause", {"scope": "agent", "name": "7"}, token=ADMIN)).status == 200
    await api.peer.store.write([ledger.item(ledger.ended("call-1"), received=70)])
    calls = await api.ask("GET", "/calls", token=ADMIN)
    assert made["tenant"] == ""
    return Strange(code="C-1", attempt_id=case.body["attempts"][0]["id"], call_id=calls.body["calls"][0]["id"])


async def test_a_tenant_reads_nothing_of_others(api: Client) -> None:
    there = await strange(api)
    expected: dict[str, Any] = {
        "/cases": {"cases": [], "next": None},
        f"/cases?number={NUMBERS[0]}": {"cases": [], "next": None},
        "/do-not-call": {"numbers": [], "next": None},
        f"/do-not-call?number=%2B234{NUMBERS[0][1:]}": {"numbers": [], "next": None},
        "/redial": {"mode": "on", "pauses": []},
        "/calls": {"calls": [], "next": None},
    }
    for way in ("calls", "cases"):
        theirs, nobodys = [await api.ask("GET", f"/{way}?source={name}", token=ACME) for name in ("lagos", "nowhere")]
        assert theirs.problem == "invalid"
        assert str(theirs.body).replace("lagos", "nowhere") == str(nobodys.body)
    for path, body in expected.items():
        assert (await api.ask("GET", path, token=ACME)).body == body, path
    for path, problem in (
        (f"/cases/{there.code}", "no-such-case"),
        (f"/cases/{there.code}/decisions", "no-such-case"),
        (f"/attempts/{there.attempt_id}", "no-such-attempt"),
        (f"/calls/{there.call_id}", "no-such-call"),
    ):
        assert (await api.ask("GET", path, token=ADMIN)).status == 200
        hidden = await api.ask("GET", path, token=ACME)
        assert (hidden.status, hidden.problem) == (404, problem)


async def test_a_tenant_changes_nothing_of_others(api: Client) -> None:
    there = await strange(api)
    before = await api.ask("GET", "/cases/C-1", token=ADMIN)
    lagos = {"source": "lagos", "numbers": [{"number": NUMBERS[0]}]}
    listed = {"number": NUMBERS[0], "read_as": "lagos"}
    for method, path, body, problem in (
        ("POST", "/cases", {"code": "C-2", **lagos}, "invalid"),
        ("PUT", "/cases/C-1", lagos, "invalid"),
        ("DELETE", "/cases/C-1", None, "no-such-case"),
        ("POST", "/cases/C-1/dial", None, "no-such-case"),
        ("POST", "/cases/C-1/attempts", {"number": NUMBERS[0]}, "no-such-case"),
        ("POST", "/cases/C-1/stop", None, "no-such-case"),
        ("POST", "/cases/C-1/resume", None, "no-such-case"),
        ("POST", f"/attempts/{there.attempt_id}/result", {"result": "contacted"}, "no-such-attempt"),
        ("POST", "/do-not-call", listed, "invalid"),
        ("DELETE", f"/do-not-call?number={NUMBERS[0]}&read_as=lagos", None, "invalid"),
        ("POST", "/redial/pause", {"scope": "source", "name": "lagos"}, "invalid"),
        ("POST", "/redial/pause", {}, "forbidden"),
        ("POST", "/redial/pause", {"scope": "agent", "name": "7"}, "forbidden"),
        ("POST", "/redial/resume", {"scope": "source", "name": "lagos"}, "invalid"),
        ("POST", "/redial/resume", {"scope": "agent", "name": "7"}, "forbidden"),
    ):
        refused = await api.ask(method, path, body, token=ACME)
        assert refused.problem == problem, (method, path, refused.body)
    assert (await api.ask("GET", "/cases/C-1", token=ADMIN)).body == before.body
    assert len((await api.ask("GET", "/do-not-call", token=ADMIN)).body["numbers"]) == 1
    assert len((await api.ask("GET", "/redial", token=ADMIN)).body["pauses"]) == 2


async def test_another_tenants_source_sounds_like_none(api: Client) -> None:
    said = []
    for source in ("lagos", "nowhere"):
        refused = await api.ask("POST", "/cases", {"code": "C-1", "source": source, "numbers": []}, token=ACME)
        said.append(refused.body["detail"].replace(source, "…"))
    assert said[0] == said[1]


async def test_a_tenant_works_its_own_cases_beside_anothers_of_the_same_code(api: Client) -> None:
    await api.made("C-1", *NUMBERS)
    mine = await api.made("C-1", THEIRS, source="tel-aviv", token=ACME)
    assert mine["tenant"] == "acme"
    dialled = await api.dialled("C-1", token=ACME)
    assert dialled.body["case"]["id"] == mine["id"]
    listed = await api.ask("GET", "/cases", token=ACME)
    assert [case["id"] for case in listed.body["cases"]] == [mine["id"]]
    assert (await api.ask("DELETE", "/cases/C-1?tenant=acme", token=ACME)).problem == "case-busy"
    await api.ask("POST", "/cases/C-1/stop", token=ACME)
    assert (await api.ask("DELETE", "/cases/C-1", token=ACME)).status == 204
    assert (await api.ask("GET", "/cases/C-1", token=ADMIN)).body["tenant"] == ""


async def test_a_tenant_sees_the_pause_of_everything_and_pauses_its_own_source(api: Client) -> None:
    await api.ask("POST", "/redial/pause", {"why": "a holiday"}, token=ADMIN)
    paused = await api.ask("POST", "/redial/pause", {"scope": "source", "name": "tel-aviv"}, token=ACME)
    assert [(one["scope"], one["name"], one["actor"]) for one in paused.body["pauses"]] == [
        ("all", "", "chief"),
        ("source", "tel-aviv", "acme"),
    ]
    assert (await api.ask("POST", "/redial/resume", {}, token=ACME)).problem == "forbidden"
