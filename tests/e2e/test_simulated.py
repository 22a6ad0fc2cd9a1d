"""Simulated systems, the real daemon and the ledger between them: as a user of the command line has them."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.commands import cdrhub
from support.daemon import Daemon
from support.servers import free_port

PATH = "/ingest/voicenter/a-secret-of-many-letters"
FAST = ("--rate", "40", "--speed", "200", "--seed", "3")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(
        tmp_path / "hub",
        database=f"sqlite:///{tmp_path / 'cdrhub.db'}",
        sources=f"""
[sources.lagos]
type = "3cx"
listen = "127.0.0.1:{free_port()}"
region = "NG"

[sources.tel-aviv]
type = "voicenter"
path = "{PATH}"
region = "IL"
""",
    )
    running.start()
    yield running
    running.stop()


def test_what_was_simulated_is_in_the_database_and_what_is_changed_is_told(daemon: Daemon, tmp_path: Path) -> None:
    port = re.search(r"127.0.0.1:(\d+)\"\nregion", daemon.config.read_text())
    assert port is not None
    kept = ("--ledger", "ledger.jsonl")
    lines = cdrhub(
        *("simulate", "3cx", "--to", f"127.0.0.1:{port[1]}", "--region", "ng", "--pbx", "v20"),
        *(*FAST, "--count", "100", *kept),
        folder=tmp_path,
    )
    sent = re.fullmatch(r"(\d+) lines of 100 calls\n", lines.stdout)
    assert (lines.returncode, lines.stderr) == (0, "")
    assert sent is not None
    assert int(sent[1]) > 100
    pushes = cdrhub(
        *("simulate", "voicenter", "--to", f"http://127.0.0.1:{daemon.http_port}{PATH}"),
        *(*FAST, "--seconds", "2", "--broken", "0.2", *kept),
        folder=tmp_path,
    )
    assert pushes.returncode == 0, pushes.stderr
    pushed = re.fullmatch(
        r"(\d+) pushes of (\d+) calls: \1 acknowledged, (\d+) broken, \d+ repeated, 0 given up\n", pushes.stdout
    )
    assert pushed is not None, pushes.stdout
    assert int(pushed[3]) > 0
    daemon.wait_for("cdrhub_records_received_total", int(sent[1]) + int(pushed[1]))
    daemon.drained()
    verify = ("demo", "--verify", "--config", daemon.config)
    same = cdrhub(*verify, folder=tmp_path)
    assert (same.returncode, same.stdout) == (0, "no differences\n"), same.stdout
    assert same.stderr == (
        "cdrhub: 3cx: 100 calls in the ledger, all as played\n"
        f"cdrhub: voicenter: {pushed[2]} calls in the ledger, all as played\n"
    )
    with closing(sqlite3.connect(tmp_path / "cdrhub.db")) as database:
        database.execute("UPDATE calls SET talk_seconds = 77777 WHERE system = '3cx' AND call_key LIKE '1/%'")
        database.execute("UPDATE calls SET call_key = 'moved' WHERE system = '3cx' AND call_key LIKE '2/%'")
        answered = (
            "SELECT id FROM calls WHERE system = 'voicenter' AND agent_id IS NOT NULL AND talk_seconds > 0 LIMIT 1"
        )
        database.execute(f"DELETE FROM call_legs WHERE role = 'agent' AND call_id = ({answered})")
        database.commit()
    told = cdrhub(*verify, "--ledger", tmp_path / "ledger.jsonl", "--format", "ndjson", folder=tmp_path)
    assert told.returncode == 1
    differences = [json.loads(line) for line in told.stdout.splitlines()]
    assert sorted((one["system"], one["column"]) for one in differences) == [
        ("3cx", "(call)"),
        ("3cx", "(call)"),
        ("3cx", "talk_seconds"),
        ("voicenter", "(person)"),
    ]
    assert "cdrhub: 3cx: 100 calls in the ledger, 3 calls not as played\n" in told.stderr


def test_the_demo_ends_by_itself_and_every_call_is_as_it_was_played(tmp_path: Path) -> None:
    done = cdrhub("demo", "--seconds", "4", "--ledger", tmp_path / "kept.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +\d+ +\d+ +(\d+) +all as played *$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in rows] == ["3cx", "voicenter", "freeswitch", "astercc", "enigma"]
    assert all(int(number) > 0 for _, *numbers in rows for number in numbers)
    assert re.findall(r"^(C-\d+) +(\S+) ", done.stdout, re.MULTILINE)[-3:] == [
        ("C-101", "paris"),
        ("C-102", "tel-aviv"),
        ("C-103", "shanghai"),
    ]
    assert done.stderr == "cdrhub: every call is in the database as it was played\n"
    kept = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert len(kept) >= sum(int(calls) for *_, calls in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("demo", "--verify", "--seconds", "5"),
            "cdrhub: --seconds is for playing, and --verify plays nothing: give one",
        ),
        (
            ("simulate", "enigma", "--to", "http://x"),
            "cdrhub: --to: this is not the URL of a Redis: write redis://",
        ),
        (("simulate", "freeswitch", "--listen", "x"), "cdrhub: --listen: 'x' is not an address: write host:port"),
        (
            ("simulate", "freeswitch", "--cdr-to", "x"),
            "cdrhub: --cdr-to: 'x' is not a URL: write http://127.0.0.1:8080/",
        ),
        (
            ("simulate", "astercc", "--to", "x"),
            "cdrhub: --to: 'x' is not a URL: write http://127.0.0.1:8080/ingest/aste",
        ),
    ],
)
def test_misuse_is_said(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = cdrhub(*arguments, folder=tmp_path)
    assert done.returncode == 64
    assert done.stderr.startswith(said)


def test_at_a_terminal_it_shows_how_many_calls_ended(daemon: Daemon, tmp_path: Path) -> None:
    terminal, stderr = os.openpty()
    url = f"http://127.0.0.1:{daemon.http_port}{PATH}"
    with subprocess.Popen(
        [sys.executable, "-m", "cdrhub", "simulate", "voicenter", "--to", url, "--count", "20", *FAST],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "200"},
    ) as running:
        os.close(stderr)
        shown = b"".join(iter(lambda: read(terminal), b""))
        said, _ = running.communicate()
    os.close(terminal)
    assert running.returncode == 0
    assert b" of 20 calls: " in said
    assert b"calls that ended" in shown
    assert b"/20" in shown


def read(terminal: int) -> bytes:
    """What comes next to a terminal; nothing when nobody has it open any more."""
    try:
        return os.read(terminal, 65_536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
