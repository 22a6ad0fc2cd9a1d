"""`cdrhub cases`, `redial` and `do-not-call`: the real commands on the real database, beside the real daemon."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cdrhub.cli.app import command
from cdrhub.cli.failure import exit_code_of
from support import commands
from support.daemon import Daemon
from support.servers import free_port
from support.threecx import line_20

DIFFERENT, USAGE, DATA, NO_INPUT = 1, 64, 65, 66
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
CONFIG = f"""
[redial]
mode = "on"
[redial.diallers.crm]
type = "webhook"
url = "http://127.0.0.1:9/dial"
secret = "{SECRET}"
allow_private = true
[sources.lagos]
type = "3cx"
listen = "127.0.0.1:0"
region = "NG"
dialler = "crm"
tenant = "acme"
[sources.haifa]
type = "3cx"
listen = "127.0.0.1:0"
region = "IL"
tenant = "other"
"""
PEOPLE = (
    "CASE_CODE_STR;agent;PHONE_NUM_1;PHONE_NUM_2;PHONE_NUM_3;PHONE_NUM_4;PHONE_NUM_5;PHONE_NUM_6\n"
    "C-1;101;0803 910 0001;+234 803 910 0002;(0803) 910-0003;08039100004;08039100005;'+2348039100006\n"
    "C-2;102;08039100011;;;;;\n"
)
SECONDS = 60.0  #: until what must happen has happened

Done = subprocess.CompletedProcess[str]
Inside = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and a sheet."""
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "people.csv").write_text(PEOPLE)
    return tmp_path


@pytest.fixture
def cdrhub(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The program in this process, in `folder`."""

    def run(*arguments: str | Path, code: int = 0) -> Done:
        given = tuple(map(str, arguments))
        returned = exit_code_of(lambda: command(given, prog_name="cdrhub", standalone_mode=False))
        said = capsys.readouterr()
        done = Done(given, returned, said.out, said.err)
        assert done.returncode == code, done
        assert "internal error" not in done.stderr
        return done

    monkeypatch.chdir(folder)
    for name in ("CDRHUB_CONFIG", "CDRHUB_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "tester")
    return run


def rows(done: Done) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def unread(*arguments: str, folder: Path) -> int:
    """The code of the program whose output goes to a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "cdrhub", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            timeout=SECONDS,
            check=False,
            env={"PATH": os.environ["PATH"], "USER": "tester", "PYTHONWARNINGS": "error"},
        ).returncode
    finally:
        os.close(writing)


# -- importing ---------------------------------------------------------------------------------------------------------


def test_a_sheet_becomes_cases_and_again_changes_them(cdrhub: Inside, folder: Path) -> None:
    assert cdrhub("cases", "import", "people.csv", "--source", "lagos").stdout == "2 cases: 2 new, 0 changed\n"
    (folder / "people.csv").write_text(PEOPLE.replace("C-2;102", "C-2;103"))
    assert cdrhub("cases", "import", "people.csv", "--source", "lagos").stdout == "2 cases: 0 new, 2 changed\n"
    second, first = rows(cdrhub("cases", "list", "--format", "json"))
    assert [number["e164"] for number in first["numbers"]] == [f"+23480391000{count:02d}" for count in range(1, 7)]
    assert (first["code"], first["tenant"], first["state"], second["agent"]) == ("C-1", "acme", "open", "103")


def test_with_one_bad_row_nothing_is_imported(cdrhub: Inside, folder: Path) -> None:
    (folder / "people.csv").write_text("code,number_1\nC-1,08039100001\nC-2,hello\n,0803\n")
    done = cdrhub("cases", "import", "people.csv", "--source", "lagos", code=DATA)
    assert done.stderr.splitlines() == [
        "cdrhub: people.csv: line 3, column number_1: 'hello' is no telephone number",
        "cdrhub: people.csv: line 4, column code: there is no code",
        "cdrhub: people.csv: 2 problems: no case of it is imported; correct them and import it again",
    ]
    (folder / "people.csv").write_text("code,number_1\nC-9,08039100001\n")
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    assert [row["code"] for row in rows(cdrhub("cases", "list", "--format", "json"))] == ["C-9"]


def test_a_dry_run_imports_nothing_and_needs_no_database(cdrhub: Inside, folder: Path) -> None:
    done = cdrhub("cases", "import", "people.csv", "--source", "lagos", "--dry-run")
    assert done.stdout == "people.csv: good, 2 cases; nothing was imported\n"
    assert not (folder / "data").exists()


def test_a_sheet_of_another_encoding_is_refused_until_it_is_named(cdrhub: Inside, folder: Path) -> None:
    (folder / "people.csv").write_bytes("code,number_1,label_1\nC-1,08039100001,נייד\n".encode("windows-1255"))
    refused = cdrhub("cases", "import", "people.csv", "--source", "lagos", code=DATA)
    assert "line 2: byte 0xf0 is not UTF-8" in refused.stderr
    assert "--encoding: windows-1252" in refused.stderr
    cdrhub("cases", "import", "people.csv", "--source=lagos", "--encoding=windows-1255")
    assert json.loads(cdrhub("cases", "show", "C-1", "--format", "json").stdout)["numbers"][0]["label"] == "נייד"


def test_a_sheet_may_come_by_standard_input(folder: Path) -> None:
    sheet = "code,number_1\nC-2,08039100002\n"
    piped = commands.cdrhub("cases", "import", "-", "--source", "lagos", folder=folder, stdin=sheet.encode())
    assert (piped.returncode, piped.stdout) == (0, "1 case: 1 new, 0 changed\n")


def test_a_hundred_thousand_bad_rows_are_refused_in_bounded_words(cdrhub: Inside, folder: Path) -> None:
    (folder / "people.csv").write_text("code,number_1\n" + "C,x\n" * 100_000)
    done = cdrhub("cases", "import", "people.csv", "--source", "lagos", code=DATA)
    assert done.stderr.count("\n") < 1_100


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cases", "import", "nope.csv", "--source", "lagos"], NO_INPUT, "nope.csv: No such file"),
        (["cases", "import", "people.csv"], DATA, "there is no source: add a column source, or name one"),
        (["cases", "import", "people.csv", "--source", "lagoz"], NO_INPUT, "there is no source 'lagoz'"),
        (["cases", "import", "people.csv", "--agent", "a\nb"], USAGE, "--agent: one line of 255 characters at most"),
        (["cases", "show", "nope"], NO_INPUT, "there is no case 'nope'"),
        (["cases", "show", "C-1", "--format", "csv"], USAGE, "a case with its attempts is no table"),
        (["cases", "resume"], USAGE, "name cases, or give --reason"),
        (["cases", "resume", "C-1", "--reason", "late"], USAGE, "name cases, or give --reason"),
        (["cases", "resume", "C-1", "--spread", "1/s"], USAGE, "--spread goes with --reason"),
        (["cases", "resume", "--reason", "late", "--spread", "often"], USAGE, "--spread: 'often' is not a pace"),
        (["cases", "resume", "C-1"], DATA, "case 'C-1' is open, not paused"),
        (["cases", "report", "C-1", "reached"], USAGE, "'reached' is not one of 'contacted', 'wrong_party'"),
        (["cases", "report", "C-1", "callback"], USAGE, "callback needs --at, the time of the next call"),
        (["cases", "report", "C-1", "contacted", "--at", "today"], USAGE, "--at goes with callback"),
        (["cases", "report", "C-1", "contacted"], NO_INPUT, "case 'C-1' has no attempt that was dialled"),
        (["cases", "list", "--state", "paussed"], USAGE, "'paussed' is not one of"),
        (["cases", "resume", "--reason", "observd"], NO_INPUT, "for 'observd'; did you mean 'observed'?"),
        (["cases", "list", "--number", "x"], USAGE, "--number: 'x' has no digit"),
        (["redial", "pause", "--source", "lagos", "--agent", "1"], USAGE, "one of --source, --campaign and --agent"),
        (["redial", "pause", "--source", "lagoz"], NO_INPUT, "there is no source 'lagoz'"),
        (
            ["do-not-call", "add", "08039100001"],
            USAGE,
            "which source's? give one with --source: there are lagos, haifa",
        ),
        (["do-not-call", "add", "x", "--source", "lagos"], DATA, "'x' is no telephone number"),
        (
            ["do-not-call", "add", "1", "--source", "lagos", "--until", "2020-01-01"],
            USAGE,
            "2020-01-01 is over already",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_what_can(
    cdrhub: Inside, arguments: list[str], code: int, said: str
) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    done = cdrhub(*arguments, code=code)
    assert said in done.stderr
    assert done.stdout == ""


def test_a_list_of_a_reason_that_no_case_ever_has_is_no_empty_list(cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    misspelt = cdrhub("cases", "list", "--reason", "attempt_unknow", code=NO_INPUT)
    assert "did you mean 'attempt_unknown'?" in misspelt.stderr
    assert cdrhub("cases", "list", "--reason", "attempt_unknown").stderr == ""


# -- ordering, without a daemon ----------------------------------------------------------------------------------------


def test_an_order_is_kept_for_the_daemon_and_explained(cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    cdrhub("do-not-call", "add", "0803-910-0001", "--source", "lagos", "--said-by", "the person")
    done = cdrhub("cases", "dial", "C-1", "--agent", "102", "--reference", "media-7")
    assert done.stdout == (
        "C-1: +2348039100002 is to be dialled now, because it is the first number not yet tried in this round that no "
        "rule objects to (not +2348039100001: do_not_call)\n"
    )
    said = cdrhub("cases", "explain", "C-1", "--timezone", "Africa/Lagos").stdout
    assert "An order to dial came for agent 102: +2348039100002 is to be dialled now" in said
    assert "rule first_untried, mode on, reference media-7" in said
    assert re.search(r"0803 910 0001 .* not: the number must not be called \(do_not_call\)", said)
    assert re.search(r"\+234 803 910 0002 .* the daemon will request it +an attempt is under way", said)
    assert "C-1 is being dialled" in said
    busy = cdrhub("cases", "dial", "C-1", code=DATA)
    assert busy.stderr == "cdrhub: case 'C-1' has a live attempt: wait for its end, or stop the case\n"
    stopped = cdrhub("cases", "stop", "C-1", "--why", "paid").stdout
    assert stopped == "C-1: it is cancelled; a call that is under way goes on\n"
    assert cdrhub("cases", "stop", "C-1").stdout == "C-1: nothing changed: it was cancelled already\n"
    (decision, *_, last) = rows(cdrhub("cases", "explain", "C-1", "--format", "json"))
    assert decision["inputs"] == {"agent": "102", "reference": "media-7", "next_number": "+2348039100002"}
    assert last["result"] == "nothing"


def test_one_that_is_not_there_keeps_no_other_from_being_stopped(cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    done = cdrhub("cases", "stop", "nope", "C-1", "neither", "C-2", code=NO_INPUT)
    assert done.stdout == "C-1: it is cancelled\nC-2: it is cancelled\n"
    assert done.stderr == "cdrhub: there is no case 'nope'\ncdrhub: there is no case 'neither'\n"


def under_way(folder: Path) -> None:
    """The dialler takes the attempt that is decided."""
    with closing(sqlite3.connect(folder / "data" / "cdrhub.db")) as database, database:
        database.execute("UPDATE attempts SET state = 'accepted', requested_at = decided_at WHERE state = 'decided'")


def test_what_became_of_the_last_attempt_is_reported(cdrhub: Inside, folder: Path) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    cdrhub("cases", "dial", "C-1")
    early = cdrhub("cases", "report", "C-1", "contacted", code=NO_INPUT)
    assert early.stderr == "cdrhub: case 'C-1' has no attempt that was dialled\n"
    under_way(folder)
    voicemail = cdrhub("cases", "report", "C-1", "voicemail").stdout
    assert voicemail.startswith(
        "attempt on 0803 910 0001: voicemail. C-1: +2348039100002 is to be dialled now, because"
    )
    under_way(folder)
    reached = cdrhub("cases", "report", "C-1", "contacted").stdout
    assert reached.startswith("attempt on +234 803 910 0002: contacted. C-1: the case is contacted, because a person")
    assert "C-1 is contacted: nothing more is dialled" in cdrhub("cases", "show", "C-1").stdout
    cdrhub("cases", "dial", "C-2")
    under_way(folder)
    cdrhub("cases", "stop", "C-2")
    assert "nothing follows" in cdrhub("cases", "report", "C-2", "voicemail", code=DIFFERENT).stdout


def test_nothing_decided_is_said(cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    said = cdrhub("cases", "explain", "C-2").stdout
    assert said.startswith("nothing was decided about C-2 yet: it was never ordered to be dialled\n")
    assert "To dial it: cdrhub cases dial C-2" in said


def test_where_nothing_can_be_dialled_the_order_says_so(cdrhub: Inside, folder: Path) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "haifa")
    done = cdrhub("cases", "dial", "C-1", code=DIFFERENT)
    assert "but the case is paused: the source names no dialler in the configuration" in done.stdout
    assert done.stdout.endswith("To go on, once its source names a dialler: cdrhub cases resume C-1\n")
    (folder / "config.toml").write_text(CONFIG.replace('mode = "on"', 'mode = "observe"'))
    observed = cdrhub("cases", "dial", "C-2", code=DIFFERENT).stdout
    assert "would be dialled now" in observed
    assert observed.endswith('To go on, once redial.mode is "on": cdrhub cases resume C-2\n')
    assert 'To go on, once redial.mode is "on": cdrhub cases resume C-2' in cdrhub("cases", "show", "C-2").stdout
    (folder / "config.toml").write_text(CONFIG.replace('mode = "on"', 'mode = "off"'))
    assert "Redial is off: set `redial.mode`" in cdrhub("cases", "dial", "C-2", code=DATA).stderr


def test_many_cases_are_resumed_over_time(cdrhub: Inside, folder: Path) -> None:
    (folder / "config.toml").write_text(CONFIG.replace('mode = "on"', 'mode = "observe"'))
    (folder / "people.csv").write_text(
        "code,agent,number_1\n" + "".join(f"R-{count},{count},0803910{count:04d}\n" for count in range(5))
    )
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    for count in range(5):
        cdrhub("cases", "dial", f"R-{count}", code=DIFFERENT)
    (folder / "config.toml").write_text(CONFIG)
    dry = cdrhub("cases", "resume", "--reason", "observed", "--spread", "10/min", "--dry-run")
    assert dry.stdout.split() == [f"R-{count}" for count in range(5)]
    assert dry.stderr == "cdrhub: 5 cases would be resumed, over 24 s\n"
    done = cdrhub("cases", "resume", "--reason", "observed", "--spread", "10/min")
    assert done.stdout.startswith("5 cases resumed, one each 6 s, the last one at ")
    found = rows(cdrhub("cases", "list", "--format", "json"))[::-1]
    assert [row["state"] for row in found] == ["dialling", *["waiting"] * 4]
    due = [datetime.fromisoformat(row["next_action_at"]) for row in found[1:]]
    assert [later - earlier for earlier, later in pairwise(due)] == [timedelta(seconds=6)] * 3
    again = cdrhub("cases", "resume", "--reason", "observed", "--spread", "10/min")
    assert again.stdout == "no case is paused for the reason observed\n"


def test_of_several_codes_each_is_resumed_or_said(cdrhub: Inside, folder: Path) -> None:
    (folder / "config.toml").write_text(CONFIG.replace('mode = "on"', 'mode = "observe"'))
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    cdrhub("cases", "dial", "C-2", code=DIFFERENT)
    (folder / "config.toml").write_text(CONFIG)
    done = cdrhub("cases", "resume", "C-1", "C-2", code=DIFFERENT)
    assert done.stderr == "cdrhub: C-1: case 'C-1' is open, not paused\n"
    assert done.stdout.startswith("C-2: +2348039100011 is to be dialled now")


def test_a_pause_is_shown_and_taken_back(cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    said = cdrhub("redial", "pause", "--campaign", "spring; reboot", "--why", "wrong list", "--as", "ade").stdout
    assert said.endswith("go on with: cdrhub redial resume --campaign='spring; reboot'\n")
    cdrhub("redial", "pause")
    pauses = [row for row in rows(cdrhub("redial", "status", "--format", "json")) if row["what"] == "pause"]
    assert [(row["name"], row["detail"]) for row in pauses] == [
        ("all redialling", "by tester"),
        ("redialling of campaign spring; reboot", "by ade: wrong list"),
    ]
    waits = cdrhub("cases", "dial", "C-2").stdout
    assert "because somebody paused redial (all)" in waits
    assert "still paused: redialling of campaign spring" in cdrhub("redial", "resume").stderr
    assert cdrhub("redial", "resume", code=DIFFERENT).stdout == "all redialling was not paused\n"
    cdrhub("redial", "resume", "--campaign", "spring; reboot")
    shown = cdrhub("redial", "status").stdout
    assert "nothing is paused" in shown
    assert "redial is on: it dials" in shown


# -- tenants -----------------------------------------------------------------------------------------------------------


def test_one_code_of_two_tenants_must_be_told_apart(cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    cdrhub("cases", "import", "people.csv", "--source", "haifa")
    assert "say which tenant with --tenant NAME" in cdrhub("cases", "show", "C-1", code=USAGE).stderr
    shown = json.loads(cdrhub("cases", "show", "C-1", "--tenant", "other", "--format", "json").stdout)
    assert (shown["tenant"], shown["source"]) == ("other", "haifa")
    assert len(rows(cdrhub("cases", "list", "--tenant", "acme", "--format", "json"))) == 2
    cdrhub("cases", "stop", "C-1", "--tenant", "acme")
    assert json.loads(cdrhub("cases", "show", "C-1", "--tenant", "other", "--format", "json").stdout)["state"] == "open"


def test_a_do_not_call_list_belongs_to_the_tenant_of_its_source(cdrhub: Inside, folder: Path) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    (folder / "registry.csv").write_text("0803 910 0011\n+234-803-910-0001\n")
    done = cdrhub("do-not-call", "import", "registry.csv", "--source", "lagos", "--said-by", "NDNC")
    assert done.stdout == "2 numbers must not be called\n"
    assert cdrhub("cases", "dial", "C-2", code=DIFFERENT).stdout == (
        "C-2: the case is exhausted, because no number is left in this round (do_not_call: on the do-not-call list)\n"
    )
    listed = rows(cdrhub("do-not-call", "list", "--format", "json"))
    assert [(row["number"], row["tenant"], row["said_by"]) for row in listed] == [
        ("+2348039100001", "acme", "NDNC"),
        ("+2348039100011", "acme", "NDNC"),
    ]
    assert rows(cdrhub("do-not-call", "list", "--tenant", "other", "--format", "json")) == []
    assert len(rows(cdrhub("do-not-call", "list", "--number", "0803 9100011", "--format", "json"))) == 1
    done = cdrhub("do-not-call", "add", "08039100011", "--source", "lagos", "--until", "2099-01-01")
    assert done.stderr.endswith("1 number stood on the list for longer, and stay so: cdrhub do-not-call remove\n")
    assert rows(cdrhub("do-not-call", "list", "--format", "json")) == listed
    cdrhub("do-not-call", "remove", "+2348039100011", "--source", "haifa", code=DIFFERENT)
    assert cdrhub("do-not-call", "remove", "08039100011", "--source", "lagos").stdout == (
        "08039100011: may be called again\n"
    )
    cdrhub("cases", "dial", "C-2")


def test_a_bad_do_not_call_list_changes_nothing(cdrhub: Inside, folder: Path) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    (folder / "registry.csv").write_text("number,until\n08039100001,2099-01-01\n08039100002,soon\n")
    done = cdrhub("do-not-call", "import", "registry.csv", "--source", "lagos", code=DATA)
    assert "line 3, column until: 'soon' is not a time" in done.stderr
    assert rows(cdrhub("do-not-call", "list", "--format", "json")) == []


# -- what strangers write ----------------------------------------------------------------------------------------------

HOSTILE = "=cmd|'/c calc'!A1"
STEERING = "a\u202eb[red]x[/red]"


def test_no_cell_of_a_sheet_steers_a_terminal_a_shell_or_a_spreadsheet(cdrhub: Inside, folder: Path) -> None:
    with (folder / "people.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["code", "agent", "campaign", "number_1", "label_1", "metadata.=x"])
        writer.writerow([HOSTILE, "+1", "@x", "08039100001", STEERING, "=1+1"])
        writer.writerow(["-rf $(reboot); `x`", "-1", "", "08039100002", "", ""])
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    listed = list(csv.DictReader(io.StringIO(cdrhub("cases", "list", "--format", "csv").stdout, newline="")))
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in listed for cell in row.values())
    assert listed[0]["code"] == f"'{HOSTILE}"
    shown = cdrhub("cases", "show", HOSTILE).stdout
    assert "\u202e" not in shown
    assert "a\\u202eb[red]x[/red]" in shown
    assert f"cdrhub cases dial '{HOSTILE.replace(chr(39), chr(39) + chr(34) + chr(39) + chr(34) + chr(39))}'" in shown
    assert "cdrhub cases dial -- '-rf $(reboot); `x`'" in cdrhub("cases", "show", "--", "-rf $(reboot); `x`").stdout
    with (folder / "again.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["code", "agent", "campaign", "number_1"])
        writer.writerows([row["code"], row["agent"], row["campaign"], row["numbers"]] for row in listed)
    assert cdrhub("cases", "import", "again.csv", "--source", "lagos").stdout == "2 cases: 0 new, 2 changed\n"


# -- beside the daemon -------------------------------------------------------------------------------------------------


class Crm(ThreadingHTTPServer):
    """A CRM that takes orders to dial; each becomes a 3CX line that says how the call ended."""

    def __init__(self, answered: str) -> None:
        super().__init__(("127.0.0.1", 0), _Order)
        self.answered = answered
        self.asked: list[str] = []
        self.switch: socket.socket | None = None

    def dialled(self, order: Mapping[str, Any]) -> None:
        """The call of an order is over."""
        self.asked.append(order["number"])
        now = datetime.now(UTC)
        form = "%Y/%m/%d %H:%M:%S"
        reached = order["number"] == self.answered
        national = f"0{order['number'].removeprefix('+234')}"
        line = line_20(
            historyid=str(len(self.asked)),
            callid=f"00000172FF10D1{len(self.asked):02d}_{len(self.asked)}",
            duration="00:00:01" if reached else "00:00:00",
            time_start=now.strftime(form),
            time_answered=now.strftime(form) if reached else "",
            time_end=(now + timedelta(seconds=1)).strftime(form),
            from_no=f"Ext.{order['agent']}",
            to_no=national,
            from_dn=order["agent"],
            to_dn="10000",
            dial_no=national,
        )
        assert self.switch is not None
        self.switch.sendall(f"{line}\r\n".encode())


class _Order(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        assert isinstance(self.server, Crm)
        self.server.dialled(order)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test says what is wrong."""


@pytest.fixture
def crm() -> Iterator[Crm]:
    """A CRM on loopback; the sixth number is the one that answers."""
    with Crm("+2348039100006") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        if server.switch is not None:
            server.switch.close()


def state_of(code: str, folder: Path) -> str:
    """Where a case stands, by the table."""
    with closing(sqlite3.connect(folder / "cdrhub.db")) as connection:
        ((state,),) = connection.execute("SELECT state FROM cases WHERE code = ?", (code,))
    return str(state)


def test_six_numbers_are_worked_through_and_every_step_is_explained(tmp_path: Path, crm: Crm) -> None:
    port = free_port()
    daemon = Daemon(
        tmp_path,
        database=f"sqlite:///{tmp_path / 'cdrhub.db'}",
        sources=CONFIG.replace("127.0.0.1:9/", f"127.0.0.1:{crm.server_port}/")
        .replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        .replace('dialler = "crm"\n', 'dialler = "crm"\nsettle_seconds = 0.2\n'),
    )
    (tmp_path / "people.csv").write_text(PEOPLE)
    daemon.start()
    try:
        crm.switch = socket.create_connection(("127.0.0.1", port))
        daemon.wait_for("cdrhub_source_links", 1)
        imported = commands.cdrhub("cases", "import", "people.csv", "--source", "lagos", folder=tmp_path)
        assert imported.stdout == "2 cases: 2 new, 0 changed\n"
        assert commands.cdrhub("cases", "dial", "C-1", folder=tmp_path).returncode == 0
        deadline = time.monotonic() + SECONDS
        while (state := state_of("C-1", tmp_path)) != "contacted" and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        daemon.stop()
    assert state == "contacted"
    assert crm.asked == [f"+23480391000{count:02d}" for count in range(1, 7)]
    said = commands.cdrhub("cases", "explain", "C-1", folder=tmp_path).stdout
    sentences = [line for line in said.splitlines() if re.match(r"\d{4}-\d\d-\d\d ", line)]
    assert len([line for line in sentences if "The call to" in line]) == 6
    for before, after in zip(range(1, 6), range(2, 7), strict=True):
        assert any(
            f"910 000{before}" in line.replace("-", " ") or f"910000{before}" in line
            for line in sentences
            if f"+234803910000{after} is to be dialled now" in line
        )
    assert sentences[-1].endswith("as answered: the case is contacted, because a person answered.")


def test_what_nobody_reads_any_more_is_done_all_the_same(folder: Path, cdrhub: Inside) -> None:
    cdrhub("cases", "import", "people.csv", "--source", "lagos")
    assert unread("cases", "stop", "C-1", "C-2", folder=folder) == 0
    stopped = rows(cdrhub("cases", "list", "--format", "json"))
    assert [case["state"] for case in stopped] == ["cancelled", "cancelled"]
    cdrhub("do-not-call", "add", "08039100001", "08039100002", "--source", "lagos")
    assert unread("do-not-call", "remove", "08039100001", "08039100002", "--source", "lagos", folder=folder) == 0
    assert rows(cdrhub("do-not-call", "list", "--format", "json")) == []
