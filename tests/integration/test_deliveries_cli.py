"""`cdrhub deliveries` on a real database that no daemon works on: what it shows, and what it asks for."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from cdrhub.cli.app import command
from cdrhub.cli.failure import exit_code_of
from cdrhub.store import Store
from cdrhub.store.event_tables import deliveries, webhook_endpoints
from cdrhub.store.tables import outbox

NOW = datetime(2026, 3, 9, 10, 0, tzinfo=UTC)
USAGE, NO_INPUT = 64, 66
EVENTS = 1_200
CURSOR = 1_100


class Program:
    """The program with a configuration of its own."""

    def __init__(self, folder: Path, url: str, capture: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.capture = capture
        self.config = folder / "config.toml"
        hook = 'url = "https://crm.example.com/"\nsecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="\n'
        self.config.write_text(
            f'[hub]\ndata_dir = "{folder / "data"}"\n[database]\nurl = "{url}"\n'
            f'[[broadcast.webhooks]]\nname = "crm"\n{hook}types = ["call.*"]\n'
            f'privacy = "last_digits"\n[[broadcast.webhooks]]\nname = "new"\n{hook}'
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """What it says: on stdout, or on stderr where it fails with `status`."""
        words = ["deliveries", *arguments, "--config", str(self.config)]
        ended = exit_code_of(lambda: command(words, prog_name="cdrhub", standalone_mode=False))
        out, self.said = self.capture.readouterr()
        assert ended == status, self.said
        return self.said if status else out

    def rows(self) -> list[tuple[int, str]]:
        """(position, state) of the single deliveries."""

        async def read() -> list[tuple[int, str]]:
            store = Store.open(self.url)
            try:
                async with store.database.connect() as connection:
                    query = select(deliveries.c.position, deliveries.c.state).order_by(deliveries.c.position)
                    return [(row.position, row.state) for row in await connection.execute(query)]
            finally:
                await store.close()

        return asyncio.run(read())


async def _fill(url: str) -> None:
    store = Store.open(url)
    await store.prepare()
    facts: list[dict[str, Any]] = [
        {
            "call_id": None,
            "source": "lagos",
            "type": "call.ended" if position % 2 else "case.paused",
            "revision": 1,
            "due_at": NOW + timedelta(seconds=position),
            "snapshot": {"key": str(position), "caller_number": "08039100001"},
            "position": position,
        }
        for position in range(1, EVENTS + 1)
    ]
    known = {"attempts": 1, "last_status": 422, "last_error": "HTTP 422", "updated_at": NOW}
    async with store.database.connect(writing=True) as connection:
        await connection.execute(insert(outbox), facts)
        await connection.execute(
            insert(webhook_endpoints).values(
                name="crm",
                cursor=CURSOR,
                state="disabled",
                attempt=10,
                failing_since=NOW,
                last_status=500,
                last_error="HTTP 500",
                updated_at=NOW,
            )
        )
        await connection.execute(
            insert(deliveries),
            [{"endpoint": "crm", "position": position, "state": "refused", **known} for position in (7, 9)],
        )
    await store.close()


@pytest.fixture
def program(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> Program:
    asyncio.run(_fill(sqlite_url))
    return Program(tmp_path, sqlite_url, capsys)


def test_how_webhooks_are_and_what_one_refused(program: Program) -> None:
    first, second = json.loads(program.run("list", "--format", "json"))
    assert (first["webhook"], first["state"], first["waiting"], first["refused"]) == ("crm", "disabled", 100, 2)
    assert (first["last_status"], first["oldest_waiting"]) == (500, (NOW + timedelta(seconds=1_101)).isoformat())
    assert (second["webhook"], second["state"]) == ("new", "new")
    program.run("list")
    assert program.said == (
        "cdrhub: to try one again now: cdrhub deliveries retry crm\n"
        "cdrhub: to send refused events again: cdrhub deliveries retry crm --refused\n"
    )
    singles = [json.loads(line) for line in program.run("list", "crm", "--format", "ndjson").splitlines()]
    assert [(one["position"], one["state"], one["type"]) for one in singles] == [
        (7, "refused", "call.ended"),
        (9, "refused", "call.ended"),
    ]
    assert "HTTP 422" in program.run("list", "crm")


@pytest.mark.parametrize(
    ("position", "state"), [("7", "refused"), ("11", "delivered"), ("12", "not wanted"), ("1101", "waiting")]
)
def test_one_event_is_shown_as_the_webhook_sees_it(program: Program, position: str, state: str) -> None:
    said = json.loads(program.run("show", "crm", position, "--format", "json"))
    assert said["state"] == state
    assert said["event"]["id"] == said["event_id"]
    assert said["event"]["data"]["caller_number"] == "…0001"


def test_a_disabled_webhook_is_tried_and_is_sent_what_it_refused(program: Program) -> None:
    said = program.run("retry", "crm", "7", "8")
    assert "crm was disabled: it is tried now" in said
    assert "1 of them it did not refuse" in said
    assert "1 refused event will be sent again" in said
    assert "1 event it refused: send again with cdrhub deliveries retry crm --refused" in said
    assert program.rows() == [(7, "retry"), (9, "refused")]
    assert json.loads(program.run("list", "--format", "json"))[0]["state"] == "healthy"
    assert "crm is healthy" in program.run("retry", "crm", "--refused")
    assert program.rows() == [(7, "retry"), (9, "retry")]


def test_a_range_is_asked_for_again_but_not_what_waits_or_is_not_wanted(program: Program) -> None:
    said = program.run("again", "crm", "--from", "1")
    assert "550 events of positions 1 to 1100 will be sent to crm again" in said
    assert "crm is disabled, so they wait" in said
    assert program.rows() == [(position, "retry") for position in range(1, CURSOR, 2)]


def test_a_range_by_time_and_by_type(program: Program) -> None:
    since, until = (f"{NOW + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}" for seconds in (21, 25))
    assert "2 events" in program.run("again", "crm", "--since", since, "--until", until)
    assert program.rows() == [(7, "refused"), (9, "refused"), (21, "retry"), (23, "retry")]
    assert "nothing is sent again" in program.run("again", "crm", "--from", "1", "--type", "case.*")
    assert "nothing is sent again" in program.run("again", "crm", "--since", "2027-01-01")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("list", "crn"), NO_INPUT, "did you mean 'crm'?"),
        (("list", "new"), NO_INPUT, "no daemon has delivered to new yet"),
        (("show", "crm", "1201"), NO_INPUT, "there are 1 to 1200"),
        (("show", "crm", "1", "--format", "csv"), USAGE, "use --format table, json or ndjson"),
        (("retry", "crm", "7", "--refused"), USAGE, "or give --refused for all"),
        (("again", "crm"), USAGE, "say which"),
        (("again", "crm", "--from", "5", "--to", "3"), USAGE, "--from 5 lies behind --to 3"),
        (("again", "crm", "--from", "1", "--type", "cal.*"), USAGE, "'cal.*' matches no event: write e.g. call.*"),
        (("again", "other", "--from", "1"), NO_INPUT, "there is no webhook 'other'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_is_said(program: Program, arguments: tuple[str, ...], status: int, said: str) -> None:
    assert said in program.run(*arguments, status=status)
