"""Cases and attempts over the API: made, dialled, reported, stopped, listed page by page."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from cdrhub.redial.model import AttemptState
from cdrhub.store.redial_tables import attempts, cases
from cdrhub.store.tables import outbox
from support.api import ADMIN, NUMBERS, OPERATE, Client

HOSTILE = (
    "a/b",
    "../../etc",
    "100%",
    "%2F",
    "a?b#c&d=e",
    "'; DROP TABLE cases; --",
    "<script>alert(1)</script>",
    '=HYPERLINK("http://x")',
    "ä 日本 🎈",
    "+",
    "x" * 128,
)


async def accepted(api: Client, case_id: str) -> str:
    """The case's live attempt, as if a dialler had accepted it."""
    async with api.peer.store.database.connect(writing=True) as connection:
        await connection.execute(
            update(attempts)
            .where(attempts.c.live_case == case_id)
            .values(state=AttemptState.ACCEPTED, requested_at=api.peer.now)
        )
    shown = await api.ask("GET", f"/cases?number={quote(NUMBERS[0])}")
    code = next(case["code"] for case in shown.body["cases"] if case["id"] == case_id)
    case = await api.ask("GET", f"/cases/{quote(code, safe='')}")
    return str(case.body["attempts"][-1]["id"])


async def test_a_case_from_its_making_to_its_end(api: Client) -> None:
    made = await api.made(
        "C-1", *NUMBERS, metadata={"deal": [1, None, "ä"]}, campaign="spring", timezone="Africa/Lagos"
    )
    assert (made["state"], made["round"], made["tenant"]) == ("open", 0, "")
    assert [number["e164"] for number in made["numbers"]] == [f"+234{number[1:]}" for number in NUMBERS]
    assert made["metadata"] == {"deal": [1, None, "ä"]}

    dialled = await api.dialled("C-1", body={"agent": "101", "reference": "media-7"})
    assert (dialled.status, dialled.body["decision"]["result"]) == (200, "next")
    (attempt,) = dialled.body["case"]["attempts"]
    assert (attempt["state"], attempt["agent"], attempt["reference"]) == ("decided", "101", "media-7")
    assert api.peer.woken == 2

    attempt_id = await accepted(api, made["id"])
    shown = await api.ask("GET", f"/attempts/{attempt_id}")
    assert (shown.body["case_code"], shown.body["placed_by"]) == ("C-1", "hub")
    wrong = await api.ask("POST", f"/attempts/{attempt_id}/result", {"result": "wrong_party"})
    assert (wrong.body["decision"]["result"], wrong.body["decision"]["number"]) == ("next", "+2348039100002")

    stopped = await api.ask("POST", "/cases/C-1/stop", {"why": "paid meanwhile"})
    assert stopped.body["state"] == "cancelled"
    assert [one["state"] for one in stopped.body["attempts"]] == ["ended", "cancelled"]
    told = await api.ask("GET", "/cases/C-1/decisions")
    assert [(one["cause"], one["result"]) for one in told.body["decisions"]] == [
        ("order", "next"),
        ("result", "next"),
        ("stop", "cancelled"),
    ]
    assert told.body["decisions"][-1]["detail"] == "paid meanwhile"
    assert all(one["words"] for one in told.body["decisions"])

    assert (await api.ask("DELETE", "/cases/C-1")).status == 204
    assert (await api.ask("GET", "/cases/C-1")).problem == "no-such-case"
    assert (await api.ask("GET", f"/attempts/{attempt_id}")).body["case_code"] is None
    late = await api.ask("POST", f"/attempts/{attempt_id}/result", {"result": "contacted"})
    assert late.problem == "no-such-attempt"


async def test_put_makes_and_changes_and_leaves_attempts(api: Client) -> None:
    given = {"source": "lagos", "numbers": [{"number": NUMBERS[0], "label": "mobile"}], "agent": "101"}
    first = await api.ask("PUT", "/cases/C-1", given)
    assert (first.status, first.headers["Location"]) == (201, "/api/v1/cases/C-1")
    await api.dialled("C-1")
    second = await api.ask("PUT", "/cases/C-1", {**given, "numbers": [{"number": NUMBERS[1]}], "campaign": "x"})
    assert (second.status, second.body["id"]) == (200, first.body["id"])
    assert [number["number"] for number in second.body["numbers"]] == [NUMBERS[1]]
    assert (second.body["campaign"], second.body["round"], len(second.body["attempts"])) == ("x", 1, 1)
    again = await api.ask("POST", "/cases", {"code": "C-1", **given})
    assert (again.status, again.problem) == (409, "case-exists")


async def test_a_live_attempt_is_in_the_way(api: Client) -> None:
    await api.made("C-1", agent="101")
    await api.made("C-2", agent="101")
    await api.dialled("C-1")
    assert (await api.dialled("C-1")).problem == "case-busy"
    assert (await api.ask("DELETE", "/cases/C-1")).problem == "case-busy"
    announced = await api.ask("POST", "/cases/C-2/attempts", {"number": NUMBERS[0]})
    assert announced.problem == "case-busy"
    assert (await api.ask("POST", "/cases/C-1/resume")).problem == "order-refused"
    assert (await api.dialled("C-9")).problem == "no-such-case"


async def test_ten_orders_at_once_dial_once(api: Client) -> None:
    await api.made("C-1")
    answers = await asyncio.gather(*(api.dialled("C-1") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9
    assert {answer.problem for answer in answers if answer.status == 409} == {"case-busy"}
    shown = await api.ask("GET", "/cases/C-1")
    assert len(shown.body["attempts"]) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_ten_makers_at_once_make_one(api: Client, method: str) -> None:
    numbers = [{"number": NUMBERS[0]}]
    there = {"POST": 409, "PUT": 200}[method]
    for code in (f"C-{number}" for number in range(10)):
        path, named = ("/cases", {"code": code}) if method == "POST" else (f"/cases/{code}", {})
        given = {**named, "source": "lagos", "numbers": numbers}
        answers = await asyncio.gather(*(api.ask(method, path, given) for _ in range(10)))
        assert sorted(answer.status for answer in answers) == sorted([201] + [there] * 9)
    assert len((await api.ask("GET", "/cases")).body["cases"]) == 10


async def test_a_paused_case_is_resumed(api: Client) -> None:
    made = await api.made("C-1")
    await api.dialled("C-1")
    async with api.peer.store.database.connect(writing=True) as connection:
        lost = {"state": AttemptState.UNKNOWN, "live_case": None, "live_agent": None}
        await connection.execute(update(attempts).where(attempts.c.case_id == made["id"]).values(lost))
        await connection.execute(update(cases).values(state="paused", state_reason="attempt_unknown"))
    listed = await api.ask("GET", "/cases?state=paused&reason=attempt_unknown")
    assert [case["code"] for case in listed.body["cases"]] == ["C-1"]
    resumed = await api.ask("POST", "/cases/C-1/resume", {"as": "not_reached"})
    assert (resumed.status, resumed.body["decision"]["number"]) == (200, "+2348039100002")
    assert [one["outcome"] for one in resumed.body["case"]["attempts"]] == ["no_answer", None]


async def test_a_crm_that_dials_itself_announces_it(api: Client) -> None:
    await api.made("C-1")
    announced = await api.ask("POST", "/cases/C-1/attempts", {"number": "+234 803 910 0002", "reference": "r-1"})
    assert announced.status == 201
    shown = await api.ask("GET", announced.headers["Location"].removeprefix("/api/v1"))
    assert (shown.body["number"], shown.body["placed_by"], shown.body["state"]) == (
        "+234 803 910 0002",
        "api",
        "accepted",
    )


async def test_a_number_may_be_marked_in_its_case(api: Client) -> None:
    marked: list[dict[str, Any]] = [{"number": NUMBERS[0], "do_not_call": True}, {"number": NUMBERS[1]}]
    made = await api.ask("POST", "/cases", {"code": "C-1", "source": "lagos", "numbers": marked})
    assert [one["do_not_call"] for one in made.body["numbers"]] == [True, False]
    assert (await api.dialled("C-1")).body["decision"]["number"] == "+2348039100002"
    wrong = await api.ask("PUT", "/cases/C-1", {"source": "lagos", "numbers": [{**marked[0], "do_not_call": "no"}]})
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "/numbers/0/do_not_call")


async def test_a_case_that_was_stopped_is_announced_no_more(api: Client) -> None:
    await api.made("C-1")
    await api.ask("POST", "/cases/C-1/stop")
    assert (await api.ask("POST", "/cases/C-1/attempts", {"number": NUMBERS[0]})).problem == "order-refused"


async def test_a_case_that_is_over_stays_what_it_is_when_it_is_stopped(api: Client) -> None:
    made = await api.made("C-1")
    await api.dialled("C-1")
    attempt_id = await accepted(api, made["id"])
    await api.ask("POST", f"/attempts/{attempt_id}/result", {"result": "contacted"})
    stopped = await api.ask("POST", "/cases/C-1/stop")
    assert (stopped.status, stopped.body["state"]) == (200, "contacted")
    told = await api.ask("GET", "/cases/C-1/decisions")
    assert (told.body["decisions"][-1]["result"], told.body["decisions"][-1]["rule"]) == ("nothing", "case_closed")


async def test_a_call_back_needs_its_time(api: Client) -> None:
    made = await api.made("C-1")
    await api.dialled("C-1")
    attempt_id = await accepted(api, made["id"])
    bare = await api.ask("POST", f"/attempts/{attempt_id}/result", {"result": "callback"})
    assert (bare.status, bare.body["errors"][0]["pointer"]) == (422, "/at")
    at = "2026-11-19T09:00:00+01:00"
    waits = await api.ask("POST", f"/attempts/{attempt_id}/result", {"result": "callback", "at": at})
    assert (waits.body["case"]["state"], waits.body["case"]["next_action_at"]) == ("waiting", "2026-11-19T08:00:00Z")


@pytest.mark.parametrize("code", HOSTILE)
async def test_a_code_is_data_wherever_it_stands(api: Client, code: str) -> None:
    made = await api.made(code, agent=code[:64])
    assert made["code"] == code
    listed = await api.ask("GET", f"/cases?agent={quote(code[:64], safe='')}")
    assert [case["code"] for case in listed.body["cases"]] == [code]
    path = f"/cases/{quote(code, safe='')}"
    assert (await api.ask("GET", path)).body["id"] == made["id"]
    put = await api.ask("PUT", path, {"source": "lagos", "numbers": [{"number": NUMBERS[0]}]})
    assert (put.status, put.headers["Location"]) == (200, f"/api/v1{path}")
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("GET", "/cases")).body["cases"] == []


async def test_pages_show_every_case_once_while_others_come(api: Client) -> None:
    for place in range(7):
        await api.made(f"C-{place}")
    seen: list[str] = []
    after = ""
    for turn in range(10):
        page = await api.ask("GET", f"/cases?limit=3{after}")
        seen += [case["code"] for case in page.body["cases"]]
        if turn == 0:
            await api.made("C-new")
        if page.body["next"] is None:
            break
        after = f"&after={page.body['next']}"
    assert seen == [f"C-{place}" for place in reversed(range(7))]


async def test_a_page_of_the_exact_length_is_the_last(api: Client) -> None:
    for place in range(3):
        await api.made(f"C-{place}")
    assert (await api.ask("GET", "/cases?limit=3")).body["next"] is None


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("number=0803%20910%200001", ["C-2", "C-1"]),
        ("number=%2B2348039100001&source=lagos", ["C-2", "C-1"]),
        ("number=2348039100003", ["C-1"]),
        ("number=08039100001&source=tel-aviv", []),
        ("campaign=spring", ["C-2"]),
        ("agent=101", ["C-1"]),
        ("state=open&limit=1", ["C-2"]),
        ("state=contacted", []),
        ("tenant=", ["C-2", "C-1"]),
        ("tenant=acme", []),
    ],
)
async def test_cases_are_found_by_what_they_are(api: Client, query: str, codes: list[str]) -> None:
    await api.made("C-1", *NUMBERS, agent="101")
    await api.made("C-2", NUMBERS[0], agent="102", campaign="spring")
    found = await api.ask("GET", f"/cases?{query}")
    assert [case["code"] for case in found.body["cases"]] == codes


async def test_decisions_come_page_by_page(api: Client) -> None:
    await api.made("C-1")
    for _ in range(3):
        await api.dialled("C-1")
        await api.ask("POST", "/cases/C-1/stop")
    causes: list[str] = []
    after: Any = 0
    while after is not None:
        page = await api.ask("GET", f"/cases/C-1/decisions?limit=4&after={after}")
        causes += [one["cause"] for one in page.body["decisions"]]
        after = page.body["next"]
    assert causes == ["order", "stop"] * 3


async def test_redial_that_is_off_says_so(api: Client) -> None:
    await api.made("C-1")
    redial = api.peer.config.redial.model_copy(update={"mode": "off"})
    api.peer.config = api.peer.config.model_copy(update={"redial": redial})
    refused = await api.dialled("C-1", token=OPERATE)
    assert (refused.status, refused.problem) == (409, "order-refused")
    assert "redial.mode" in refused.body["detail"]


async def test_the_same_code_in_two_tenants_must_be_told_apart(api: Client) -> None:
    mine = await api.made("C-1")
    theirs = await api.made("C-1", "0521234567", source="tel-aviv")
    assert (await api.ask("GET", "/cases/C-1", token=ADMIN)).problem == "ambiguous-code"
    for tenant, case in (("", mine), ("acme", theirs)):
        shown = await api.ask("GET", f"/cases/C-1?tenant={tenant}", token=ADMIN)
        assert shown.body["id"] == case["id"]
    dialled = await api.ask("POST", "/cases/C-1/dial?tenant=acme", token=ADMIN)
    assert dialled.body["case"]["id"] == theirs["id"]


async def test_whole_numbers_in_metadata_stay_exact(api: Client) -> None:
    given = {"big": [2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63)], "part": 0.1}
    await api.made("C-1", metadata=given)
    await api.dialled("C-1", body={"agent": "101"})
    assert (await api.ask("GET", "/cases/C-1")).body["metadata"] == given
    async with api.peer.store.database.connect() as connection:
        told = (await connection.scalars(select(outbox.c.snapshot))).all()
    assert [fact["metadata"] for fact in told] == [given]
