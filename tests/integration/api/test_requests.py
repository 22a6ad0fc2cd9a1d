"""What a request may look like: methods, hosts, bodies, values; and that a refusal shows nothing it should not."""

from __future__ import annotations

import gzip
import io
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from cdrhub.store import Store
from cdrhub.web.api.operation import MAX_BODY, PREFIX
from cdrhub.web.api.routes import OPENAPI, OPERATIONS
from support.api import ADMIN, DOCUMENT, NUMBERS, OPERATE, READ, Client, Peer, configured, serving

CASE: dict[str, Any] = {"code": "C-1", "source": "lagos", "numbers": [{"number": NUMBERS[0]}]}
LONG_AGO = "0001-01-01T00:00:00%2B14:00"


def problem_of(answered: Any) -> tuple[int, str]:
    assert answered.headers["Content-Type"] == "application/problem+json"
    assert answered.body["status"] == answered.status
    return answered.status, answered.problem


async def test_the_document_is_served_and_told_to_nobody_else(api: Client) -> None:
    served = await api.ask("GET", "/openapi.json", token=READ)
    assert served.body == orjson.loads(orjson.dumps(DOCUMENT))
    assert (await api.ask("GET", "/openapi.json", token=None)).status == 401
    assert served.headers["Cache-Control"] == "no-store"


async def test_what_is_not_there_is_a_problem_too(api: Client) -> None:
    assert problem_of(await api.ask("GET", "/nothing")) == (404, "not-found")
    assert problem_of(await api.ask("GET", "")) == (404, "not-found")
    assert problem_of(await api.ask("GET", "/attempts/7")) == (404, "not-found")
    assert problem_of(await api.ask("GET", "/calls/7")) == (404, "not-found")
    refused = await api.ask("PATCH", "/cases/C-1")
    assert problem_of(refused) == (405, "method-not-allowed")
    assert refused.headers["Allow"] == "GET, HEAD, PUT, DELETE"
    feed = await api.ask("POST", "/events")
    assert problem_of(feed) == (405, "method-not-allowed")
    assert feed.headers["Allow"] == "GET"
    assert (await api.ask("HEAD", "/cases")).status == 200
    assert (await api.ask("HEAD", "/nothing")).status == 404


@pytest.mark.parametrize(
    ("raw", "kind", "expected"),
    [
        (b"{", "application/json", (400, "not-json")),
        (b"\xff", "application/json", (400, "not-json")),
        (b'{"code": NaN}', "application/json", (400, "not-json")),
        (b'{"code": "\\ud800"}', "application/json", (400, "not-json")),
        (b"[" * 100_000, "application/json", (400, "not-json")),
        (b"[]", "application/json", (422, "invalid")),
        (b"null", "application/json", (422, "invalid")),
        (b"{}", "text/plain", (415, "media-type")),
        (b"code=C-1", "application/x-www-form-urlencoded", (415, "media-type")),
        (b"{}", "application/json; charset=utf-16", (415, "media-type")),
        (b'{"code": "' + b"x" * MAX_BODY + b'"}', "application/json", (413, "too-long")),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_body_that_cannot_be_read(api: Client, raw: bytes, kind: str, expected: tuple[int, str]) -> None:
    refused = await api.ask("POST", "/cases", data=io.BytesIO(raw), headers={"Content-Type": kind})
    assert problem_of(refused) == expected
    assert (await api.ask("GET", "/cases")).body["cases"] == []


async def test_a_body_may_be_packed_in_two_ways(api: Client) -> None:
    json = {"Content-Type": "application/json"}
    packed = io.BytesIO(gzip.compress(b'{"code": 7}'))
    refused = await api.ask("POST", "/cases", data=packed, headers={**json, "Content-Encoding": "gzip"})
    assert problem_of(refused) == (422, "invalid")
    refused = await api.ask("POST", "/cases", data=io.BytesIO(b"{}"), headers={**json, "Content-Encoding": "br"})
    assert (problem_of(refused), refused.headers["Accept-Encoding"]) == ((415, "media-type"), "gzip, deflate")


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"code": ""}, ["/code"]),
        ({"code": "x" * 129}, ["/code"]),
        ({"code": "a\nb"}, ["/code"]),
        ({"code": "a\x00b"}, ["/code"]),
        ({"code": ".."}, ["/code"]),
        ({"code": 7}, ["/code"]),
        ({"source": "nowhere"}, ["/source"]),
        ({"source": "lagos-archive"}, ["/source"]),
        ({"numbers": None}, ["/numbers"]),
        ({"numbers": [{"number": NUMBERS[0]}] * 101}, ["/numbers"]),
        ({"numbers": [{"number": "1" * 65}]}, ["/numbers/0/number"]),
        ({"numbers": [{"number": "080\r\nHost: x"}]}, ["/numbers/0/number"]),
        ({"numbers": [{"number": "080", "e164": "x"}]}, ["/numbers/0/e164"]),
        ({"agent": "x" * 256}, ["/agent"]),
        ({"timezone": "Mars/Olympus"}, ["/timezone"]),
        ({"timezone": "../../etc/passwd"}, ["/timezone"]),
        ({"metadata": {"a": "x" * 20_000}}, ["/metadata"]),
        ({"metadata": {"a": "\x00"}}, ["/metadata"]),
        ({"metadata": {"a": [[[[[[[[1]]]]]]]]}}, ["/metadata"]),
        ({"metadata": []}, ["/metadata"]),
        ({"metadata": {"a": [2**64]}}, ["/metadata"]),
        ({"metadata": {"a": -(2**63) - 1}}, ["/metadata"]),
        ({"state": "contacted", "a/b~c": 1}, ["/state", "/a~1b~0c"]),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_place_that_is_not_valid_is_named(api: Client, change: dict[str, Any], pointers: list[str]) -> None:
    refused = await api.ask("POST", "/cases", CASE | change)
    assert problem_of(refused) == (422, "invalid")
    assert [place["pointer"] for place in refused.body["errors"]] == pointers
    assert (await api.ask("GET", "/cases")).body["cases"] == []


@pytest.mark.parametrize("number", ["call me", "+", "sip:ab", "-"])
async def test_what_is_no_number_is_refused(api: Client, number: str) -> None:
    refused = await api.ask("POST", "/cases", CASE | {"numbers": [{"number": number}]})
    assert problem_of(refused) == (422, "number-unusable")


@pytest.mark.parametrize(
    "path",
    [
        "/cases?limit=0",
        "/cases?limit=1001",
        "/cases?limit=x",
        "/cases?state=nowhere",
        "/cases?after=7",
        "/cases?after=' OR 1=1",
        "/cases?agent=a&agent=b",
        "/cases?order=code",
        "/cases?number=%00",
        "/cases?tenant=%00",
        "/cases/C-1/decisions?after=-1",
        "/cases/C-1/decisions?after=99999999999999999999",
        "/cases/C-1/decisions?after=%D9%A1",
        "/do-not-call?after=7",
        "/do-not-call?after=%00/",
        "/calls?after=7",
        "/calls?after=2026-01-01T00:00:00/0199aaaa-0000-7000-8000-000000000001",
        f"/calls?since={LONG_AGO}",
        "/calls?since=2026-01-01T00:00:00",
        "/calls?until=9999-12-31T23:59:59-12:00",
        "/calls?disposition=good",
        "/calls?queue=",
        "/calls?agent=%20",
    ],
)
async def test_a_query_that_is_not_valid(api: Client, path: str) -> None:
    await api.made("C-1")
    refused = await api.ask("GET", path.replace(" ", "%20").replace("'", "%27"))
    assert problem_of(refused) == (422, "invalid")
    name = path.partition("?")[2].partition("=")[0]
    assert [place["pointer"] for place in refused.body["errors"]] == [f"?{name}"]


@pytest.mark.parametrize(
    "moment", ["2026-03-01", "2026-03-01T08:00:00", "2026-03-01T08:00:00+01:00", "today", "1772352000"]
)
async def test_a_moment_without_an_offset_is_told_how_it_is_written(api: Client, moment: str) -> None:
    """A plus sign that was not percent-encoded is none."""
    refused = await api.ask("GET", f"/calls?since={moment}")
    (place,) = refused.body["errors"]
    assert place["detail"] == "must be ISO 8601 with an offset: write e.g. 2026-03-01T08:00:00Z; in a URL a + is %2B"
    assert (await api.ask("GET", f"/calls?since={quote(moment)}")).status == (200 if "+" in moment else 422)


async def test_a_refusal_repeats_no_value_of_a_body(api: Client) -> None:
    refused = await api.ask("POST", "/cases", CASE | {"timezone": "my secret", "zz": "another secret"})
    assert "secret" not in orjson.dumps(refused.body).decode()


@pytest.fixture
async def open_api(sqlite_url: str) -> Any:
    """A server without tokens."""
    store = Store.open(sqlite_url)
    await store.prepare()
    async with serving(Peer(configured(), store), tokens=False) as client:
        yield client
    await store.close()


async def test_without_tokens_this_machine_reads_and_nobody_writes(open_api: Client) -> None:
    for operation in OPERATIONS:
        path = operation.path.format(code="C-1", id="0199aaaa-0000-7000-8000-000000000001")
        answered = await open_api.ask(operation.method, path, token=None)
        assert (answered.status == 403) is (operation.role != "read"), operation.name
        if answered.status == 403:
            assert "[[http.tokens]]" in answered.body["detail"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]"])
async def test_without_tokens_a_page_of_a_browser_reads_nothing(open_api: Client, host: str) -> None:
    refused = await open_api.ask("GET", "/cases", token=None, headers={"Host": host})
    assert problem_of(refused) == (401, "token")
    assert (await open_api.ask("GET", "/cases", token=None, headers={"Host": "localhost:80"})).status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"])
async def test_without_tokens_nobody_reads_through_a_proxy_of_this_machine(open_api: Client, header: str) -> None:
    refused = await open_api.ask("GET", "/cases", token=None, headers={"Host": "127.0.0.1:8080", header: "127.0.0.1"})
    assert problem_of(refused) == (401, "token")


async def test_no_page_of_a_browser_is_told_that_it_may_read(api: Client) -> None:
    answered = await api.ask("GET", "/cases", headers={"Origin": "https://evil.example"})
    assert not [name for name in answered.headers if name.lower().startswith("access-control")]
    preflight = await api.ask("OPTIONS", "/cases", headers={"Access-Control-Request-Method": "POST"})
    assert preflight.status == 405


async def test_a_database_that_is_away_is_a_503_without_its_address(api: Client) -> None:
    gone = Store.open("postgresql://cdrhub:hunter2@127.0.0.1:1/gone", seconds=2)
    try:
        async with serving(Peer(api.peer.config, gone)) as client:
            for method, path, body in (("GET", "/cases", None), ("POST", "/cases", CASE)):
                refused = await client.ask(method, path, body, token=ADMIN)
                assert problem_of(refused) == (503, "unavailable")
                assert refused.headers["Retry-After"] == "5"
                assert "hunter2" not in str(refused.body)
                assert "127.0.0.1" not in str(refused.body)
    finally:
        await gone.close()


async def test_a_failure_of_our_own_is_a_500_without_its_words(api: Client) -> None:
    class Broken(Peer):
        def orders(self) -> Any:
            raise ZeroDivisionError("a secret of the machine")

    async with serving(Broken(api.peer.config, api.peer.store)) as client:
        refused = await client.ask("POST", "/cases", CASE, token=OPERATE)
        assert problem_of(refused) == (500, "internal")
        assert "secret" not in str(refused.body)


async def test_every_path_of_the_document_has_its_prefix() -> None:
    assert all(path.startswith(PREFIX) for path in DOCUMENT["paths"])
    assert OPENAPI not in DOCUMENT["paths"]
