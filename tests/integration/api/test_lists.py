"""The do-not-call lists, the pauses, and the calls over the API."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from support import ledger
from support.api import ADMIN, NUMBERS, READ, Client

UNKNOWN = "0199aaaa-0000-7000-8000-000000000001"


async def test_a_number_on_the_list_is_not_dialled(api: Client) -> None:
    await api.made("C-1", *NUMBERS[:2])
    given = {"number": "0803 910 0001", "read_as": "lagos", "source": "registry", "until": "2027-01-01T00:00:00+01:00"}
    listed = await api.ask("POST", "/do-not-call", given)
    assert (listed.body["match_key"], listed.body["source"], listed.body["until"]) == (
        "+2348039100001",
        "registry",
        "2026-12-31T23:00:00Z",
    )
    dialled = await api.dialled("C-1")
    assert dialled.body["decision"]["number"] == "+2348039100002"
    again = await api.ask("POST", "/do-not-call", {"number": "+2348039100001", "read_as": "lagos"})
    assert (again.body["until"], again.body["source"]) == (None, "api")
    found = await api.ask("GET", f"/do-not-call?number={quote('08039100001')}", token=READ)
    assert len(found.body["numbers"]) == 1
    path = "/do-not-call?number=0803-910-0001&read_as=lagos"
    assert (await api.ask("DELETE", path, token=ADMIN)).status == 204
    assert (await api.ask("DELETE", path, token=ADMIN)).problem == "not-found"
    assert (await api.ask("DELETE", "/do-not-call?number=x&read_as=lagos", token=ADMIN)).problem == "number-unusable"


@pytest.mark.parametrize(
    "spelling", ["+234 (0) 803 910 0001", "0803\u2013910\u20130001", "\u200e08039100001", "\u0660803910\uff10001"]
)
async def test_a_number_is_one_in_every_spelling(api: Client, spelling: str) -> None:
    listed = await api.ask("POST", "/do-not-call", {"number": spelling, "read_as": "lagos"})
    assert listed.body["match_key"] == "+2348039100001"
    found = await api.ask("GET", f"/do-not-call?number={quote(spelling)}")
    assert len(found.body["numbers"]) == 1
    await api.made("C-1", NUMBERS[0])
    cases = await api.ask("GET", f"/cases?number={quote(spelling)}")
    assert [case["code"] for case in cases.body["cases"]] == ["C-1"]


@pytest.mark.parametrize("safe", ["", "+/"])
async def test_the_list_comes_page_by_page_over_all_tenants(api: Client, safe: str) -> None:
    for number in ("08039100001", "08039100002"):
        await api.ask("POST", "/do-not-call", {"number": number, "read_as": "lagos"})
    for number in ("+2348039100001", "0521234567"):
        await api.ask("POST", "/do-not-call", {"number": number, "read_as": "tel-aviv"})
    seen: list[tuple[str, str]] = []
    after = ""
    for _ in range(5):
        page = await api.ask("GET", f"/do-not-call?limit=1{after}")
        seen += [(one["match_key"], one["tenant"]) for one in page.body["numbers"]]
        if page.body["next"] is None:
            break
        after = f"&after={quote(page.body['next'], safe=safe)}"
    assert seen == [
        ("+2348039100001", ""),
        ("+2348039100001", "acme"),
        ("+2348039100002", ""),
        ("+972521234567", "acme"),
    ]
    of_acme = await api.ask("GET", "/do-not-call?tenant=acme")
    assert len(of_acme.body["numbers"]) == 2


async def test_a_pause_holds_and_is_taken_back(api: Client) -> None:
    await api.made("C-1", agent="101", campaign="spring")
    paused = await api.ask("POST", "/redial/pause", {"scope": "campaign", "name": "spring", "why": "wrong script"})
    (pause,) = paused.body["pauses"]
    assert (pause["scope"], pause["name"], pause["actor"], pause["why"]) == (
        "campaign",
        "spring",
        "crm",
        "wrong script",
    )
    held = await api.dialled("C-1")
    assert (held.body["decision"]["result"], held.body["decision"]["rule"]) == ("scheduled", "redial_paused")
    shown = await api.ask("GET", "/redial", token=READ)
    assert shown.body == {"mode": "on", "pauses": [pause]}
    freed = await api.ask("POST", "/redial/resume", {"scope": "campaign", "name": "spring"})
    assert freed.body["pauses"] == []
    assert (await api.dialled("C-1")).body["decision"]["result"] == "next"
    assert (await api.ask("POST", "/redial/resume", {"scope": "campaign", "name": "spring"})).problem == "not-found"


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "all", "name": "x"},
        {"scope": "agent"},
        {"scope": "source", "name": "nowhere"},
        {"scope": "everything"},
    ],
)
async def test_a_pause_names_what_it_holds(api: Client, body: dict[str, str]) -> None:
    for way in ("pause", "resume"):
        assert (await api.ask("POST", f"/redial/{way}", body)).problem == "invalid"


@pytest.mark.parametrize("safe", ["", "+/:"])
async def test_calls_come_page_by_page_and_one_with_its_legs(api: Client, safe: str) -> None:
    items = [ledger.item(ledger.ended(f"call-{place}", place), received=100 + place) for place in range(5)]
    await api.peer.store.write(items)
    seen: list[str] = []
    after = ""
    for _ in range(5):
        page = await api.ask("GET", f"/calls?limit=2{after}", token=READ)
        seen += [call["call_key"] for call in page.body["calls"]]
        if page.body["next"] is None:
            break
        after = f"&after={quote(page.body['next'], safe=safe)}"
    assert seen == [f"call-{place}" for place in reversed(range(5))]
    newest = (await api.ask("GET", "/calls?limit=1")).body["calls"][0]
    shown = await api.ask("GET", f"/calls/{newest['id']}", token=READ)
    assert shown.body["call"] == newest
    assert [leg["agent_id"] for leg in shown.body["legs"]] == ["102"]
    assert "announced" not in newest
    assert newest["sort_at"].endswith("Z")
    assert (await api.ask("GET", f"/calls/{UNKNOWN}")).problem == "no-such-call"


async def test_a_source_that_is_not_there_is_no_empty_list(api: Client) -> None:
    """As of one that is silent."""
    for path in ("calls", "cases"):
        refused = await api.ask("GET", f"/{path}?source=lago", token=READ)
        assert (refused.problem, refused.body["errors"]) == (
            "invalid",
            [{"pointer": "?source", "detail": "there is no source 'lago'; did you mean 'lagos'?"}],
        )
        assert (await api.ask("GET", f"/{path}?source=lagos", token=READ)).status == 200
    await api.peer.store.write([ledger.item(ledger.ended("call", 1), received=100, source="gone")])
    assert len((await api.ask("GET", "/calls?source=gone", token=READ)).body["calls"]) == 1


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("disposition=answered", 3),
        ("disposition=busy", 0),
        ("direction=inbound&state=ended", 3),
        ("agent=Ade", 3),
        ("agent=103", 0),
        ("source=lagos", 3),
        ("source=tel-aviv", 0),
        ("number=%2B2348039000001", 1),
        ("number=08039000001", 1),
        ("since=2026-03-09T10:00:01Z", 2),
        ("until=2026-03-09T11:00:01%2B01:00", 1),
        ("queue=Sales", 0),
    ],
)
async def test_calls_are_found_by_what_they_are(api: Client, query: str, count: int) -> None:
    items = [ledger.item(ledger.ended(f"call-{place}", place), received=100 + place) for place in range(3)]
    await api.peer.store.write(items)
    found = await api.ask("GET", f"/calls?{query}")
    assert len(found.body["calls"]) == count
