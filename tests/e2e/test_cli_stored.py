"""The commands that show, repair and replay what is stored, by the real program."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest

from cdrhub.model.record import digest_of
from support.commands import DIFFERENT, LINES, NO_INPUT, SECONDS, SOURCE, UNREAD, USAGE, Inside, Rows, cdrhub


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cdrhub", "config", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_closed_output_is_no_error(form: str, imported: Path) -> None:
    done = cdrhub("calls", "--format", form, folder=imported, through=("sh", "-c", '"$@" >&-', "sh"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_code_says_what_closed_streams_cannot(imported: Path) -> None:
    done = cdrhub("calls", "--source", "nowhere", folder=imported, through=("sh", "-c", '"$@" <&- >&- 2>&-', "sh"))
    assert (done.returncode, done.stdout, done.stderr) == (NO_INPUT, "", "")


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ([], ["2", "1"]),
        (["--limit", "1"], ["2"]),
        (["list", "--limit", "1"], ["2"]),
        (["--since", "2020-06-29T07:54"], ["2"]),
        (["--until", "2020-06-29T08:54", "--timezone", "Africa/Lagos"], ["1"]),
        (["--source", "lagos", "--direction", "inbound"], ["1"]),
        (["--disposition", "answered"], ["1"]),
        (["--agent", "114"], ["1"]),
        (["--number", "0803 910 0000"], ["1"]),
        (["--number", "+234 (803) 910-0000"], ["1"]),
        (["--number", "2348039100000"], ["1"]),
        (["--number", "08039100000"], ["1"]),
        (["--number", "114"], ["1"]),
        (["--number", "Ext.196"], ["2"]),
        (["--number", "0803 910 0001"], []),
        (["--queue", "Sales"], []),
    ],
)
def test_calls_are_filtered(arguments: list[str], keys: list[str], imported: Path, inside: Inside) -> None:
    done = inside("calls", *arguments, "--format", "ndjson", folder=imported)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line)["call_key"] for line in done.stdout.splitlines()]
    assert [key.partition("_")[0].partition("/")[0] for key in found] == keys


def test_calls_in_every_format(imported: Path, inside: Inside) -> None:
    table = cdrhub("calls", folder=imported)
    assert "08039100000" in table.stdout
    assert "answered" in table.stdout
    listed = list(csv.DictReader(io.StringIO(inside("calls", "--format", "csv", folder=imported).stdout, newline="")))
    assert [row["caller_e164"] for row in listed] == ["", "'+2348039100000"]
    assert json.loads(inside("calls", "--format", "json", folder=imported).stdout)[1]["talk_seconds"] == 30
    nobody = inside("calls", "--since", "now", folder=imported)
    assert (nobody.returncode, nobody.stdout) == (0, "no calls found\n")


def test_a_call_is_shown_with_its_legs_and_records(imported: Path, inside: Inside, rows: Rows) -> None:
    call_id = rows("calls", "--agent", "114", folder=imported)[0]["id"]
    shown = inside("calls", "show", call_id, folder=imported)
    assert "+2348039100000" in shown.stdout
    assert "Call 1,00000172FF10D141_1" in shown.stdout
    whole = json.loads(inside("calls", "show", call_id[:-1], "--format", "json", folder=imported).stdout)
    assert whole["records"][0]["digest"] == digest_of(LINES.splitlines()[0]).hex()
    assert {leg["role"] for leg in whole["legs"]} >= {"agent"}
    assert whole["records"][0]["attributes"] == {"file": "cdr.log", "live": False}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["calls", "show", "nothing"], NO_INPUT, "there is no call 'nothing'"),
        (["calls", "--since", "tomorow"], USAGE, "'tomorow' is not a time: write 2026-03-01"),
        (["calls", "--timezone", "Lagos"], USAGE, "--timezone: 'Lagos' is not an IANA time zone; did you mean 'Africa"),
        (["calls", "--source", "lagos", "list"], USAGE, "cdrhub calls list: write its options behind 'list'"),
        (["calls", "--queue", ""], USAGE, "--queue: a name is missing"),
        (["agents", "--agent", " "], USAGE, "--agent: a name is missing"),
        (["calls", "--number", "x"], USAGE, "--number: 'x' has no digit"),
        (["calls", "--source", "lagoss"], NO_INPUT, "there is no source 'lagoss' in config.toml; did you"),
        (["suspense", "show", "99"], NO_INPUT, "there is no record 99"),
        (["suspense", "discard", "1", "--why", "x"], USAGE, "record 1 is applied, not in suspense"),
        (["suspense", "discard", "3", "--why", " "], USAGE, "--why: say why they are not wanted"),
        (["suspense", "discard", "--why", "x"], USAGE, "say which: numbers of records, or --all, --source or --reason"),
        (["suspense", "discard", "3", "--why", "x" * 1001], USAGE, "--why: one line of 1000 characters at most"),
        (["suspense", "discard", "--source", "nope", "--why", "x"], NO_INPUT, "there is no source 'nope'"),
        (["suspense", "replay"], USAGE, "say which: numbers of records, or --all, --source or --reason"),
        (["suspense", "replay", "3", "99"], NO_INPUT, "there is no record 99"),
        (["suspense", "edit", "1"], USAGE, "record 1 is applied, not in suspense"),
        (["suspense", "edit", "3"], USAGE, "no editor: set EDITOR, or give the repaired bytes with --from-file FILE"),
        (["replay"], USAGE, "say which: --since, --until or --source"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], code: int, said: str, imported: Path, inside: Inside
) -> None:
    done = inside(*arguments, folder=imported)
    assert done.returncode == code
    assert done.stderr.startswith(f"cdrhub: {said}")
    assert done.stderr.count("\n") == 1


def test_a_record_is_repaired_in_an_editor_and_becomes_a_call(imported: Path, inside: Inside, rows: Rows) -> None:
    (broken,) = rows("suspense", "list", folder=imported)
    assert (broken["reason"], broken["source"]) == ("wrong_field_count", "lagos")
    number = str(broken["id"])
    repaired = LINES.splitlines()[1].replace(b"Call 2,00000172FF10D142_2", b"Call 3,00000172FF10D143_3")
    (imported / "fixed").write_bytes(repaired + b"\n")
    edited = cdrhub(
        "suspense", "edit", number, "--why", "lost its end", folder=imported, environ={"EDITOR": "cp fixed"}
    )
    assert edited.stdout == f"record {number} is repaired; try it with: cdrhub suspense replay {number}\n"
    repaired_one = inside("suspense", "show", number, folder=imported).stderr
    assert repaired_one.endswith(f"try the repaired ones: cdrhub suspense replay {number}\n")
    replayed = inside("suspense", "replay", number, "--as", "anna", folder=imported)
    assert replayed.stdout == "1 record: 1 applied, 0 without a call, 0 still in suspense, 0 not in suspense\n"
    assert len(rows("calls", folder=imported)) == 3
    assert rows("suspense", "list", folder=imported) == []
    shown = json.loads(inside("suspense", "show", number, "--format", "json", folder=imported).stdout)
    assert re.fullmatch("[0-9a-f]{32}", shown["digest"])
    assert [(act["actor"], act["action"], act["why"]) for act in shown["audit"]] == [
        ("tester", "edited", "lost its end"),
        ("anna", "replayed", None),
    ]
    assert shown["body"] == "Call 3,not,enough,fields"
    assert shown["repaired_body"] == repaired.decode()


def test_what_was_written_in_an_editor_and_is_refused_is_kept(imported: Path, inside: Inside) -> None:
    meanwhile = f"{sys.executable} -m cdrhub suspense edit 3 --from-file theirs --as ben"
    (imported / "theirs").write_text("by Ben")
    (imported / "editor").write_text(f"{meanwhile} && printf 'by Ada' > $1")
    done = cdrhub("suspense", "edit", "3", folder=imported, environ={"EDITOR": "sh editor", "TMPDIR": str(imported)})
    kept, refused = done.stderr.splitlines()
    assert (done.returncode, refused) == (
        USAGE,
        "cdrhub: record 3 was repaired meanwhile: look at it with `cdrhub suspense show 3`, then edit it again",
    )
    assert kept.startswith(f"cdrhub: what you wrote is kept in {imported}/")
    (file,) = imported.glob("cdrhub-record-3-*")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("by Ada", 0o600)
    shown = json.loads(inside("suspense", "show", "3", "--format", "json", folder=imported).stdout)
    assert shown["repaired_body"] == "by Ben"


@pytest.mark.parametrize(
    ("editor", "said"),
    [
        ('vi "-n', "the editor 'vi \"-n' cannot be started: No closing quotation"),
        ("truncate -s 16777217", "the repaired record has more than 16777216 bytes: the record is unchanged"),
    ],
)
def test_an_editor_that_does_not_repair_is_told(editor: str, said: str, imported: Path) -> None:
    """What had 2 GB was an internal error."""
    done = cdrhub("suspense", "edit", "3", folder=imported, environ={"EDITOR": editor})
    assert (done.returncode, done.stderr) == (USAGE, f"cdrhub: {said}\n")


def test_what_came_from_a_source_that_was_renamed_is_listed_under_its_name(imported: Path, rows: Rows) -> None:
    (imported / "config.toml").write_text(SOURCE.replace("lagos", "ibadan"))
    assert len(rows("calls", "--source", "lagos", folder=imported)) == 2
    assert len(rows("calls", "--source", "lagos", "--number", "0803 910 0000", folder=imported)) == 1
    assert len(rows("suspense", "list", "--source", "lagos", folder=imported)) == 1


def test_a_record_is_discarded_with_a_reason(imported: Path, inside: Inside, rows: Rows) -> None:
    (broken,) = rows("suspense", "list", "--reason", "wrong_field_count", folder=imported)
    cut = inside("suspense", "list", "--limit", "1", folder=imported)
    assert cut.stderr == "cdrhub: these are the oldest 1; more with --limit\n"
    assert rows("suspense", "list", "--reason", "too_long", folder=imported) == []
    again = inside("suspense", "replay", "--all", folder=imported)
    assert again.stdout.startswith("1 record: 0 applied, 0 without a call, 1 still in suspense")
    assert again.returncode == DIFFERENT
    none = inside("suspense", "discard", "--reason", "too_long", "--why", "a probe", folder=imported)
    assert none.stdout == "0 records discarded\n"
    chosen = ("--source", "lagos", "--reason", "wrong_field_count")
    done = inside("suspense", "discard", *chosen, "--why", "a probe", folder=imported)
    assert (done.returncode, done.stdout) == (0, "1 record discarded\n")
    shown = inside("suspense", "show", str(broken["id"]), folder=imported)
    assert "a probe" in shown.stdout
    assert inside("suspense", "list", folder=imported).stdout == "nothing is in suspense\n"


def test_a_record_comes_from_standard_input(imported: Path, rows: Rows) -> None:
    done = cdrhub("suspense", "edit", "3", "--from-file", "-", folder=imported, stdin=b"Call 3,still,wrong")
    assert done.returncode == 0
    assert rows("suspense", "list", folder=imported)[0]["repaired_body"] == "Call 3,still,wrong"


def test_a_replay_with_the_settings_of_today_shows_each_field_first(imported: Path, inside: Inside, rows: Rows) -> None:
    (imported / "config.toml").write_text(SOURCE + 'timezone = "Africa/Lagos"\n')
    nothing = inside("replay", "--source", "lagos", "--dry-run", folder=imported)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "nothing differs\n", "")
    current = ("replay", "--source", "lagos", "--with-config", "current", "--format", "ndjson")
    dry = cdrhub(*current, "--dry-run", folder=imported)
    assert dry.stderr == "cdrhub: would be 2 changed\n"
    announced = inside(*current, "--dry-run", "--announce", folder=imported)
    # No daemon has decided about them yet: it tells of them then.
    assert announced.stderr == "cdrhub: would be 2 changed; 0 events would be told\n"
    assert announced.stdout == dry.stdout
    changes = [(row["column"], row["before"], row["after"]) for row in map(json.loads, dry.stdout.splitlines())]
    assert ("started_at", "2020-06-29T07:53:11+00:00", "2020-06-29T06:53:11+00:00") in changes
    assert rows("calls", "--agent", "114", folder=imported)[0]["started_at"] == "2020-06-29T07:53:11+00:00"
    real = cdrhub(*current, folder=imported)
    assert real.stdout == dry.stdout
    assert rows("calls", "--agent", "114", folder=imported)[0]["started_at"] == "2020-06-29T06:53:11+00:00"
    assert inside(*current, folder=imported).stdout == ""


def test_what_is_logged_is_not_in_the_output(folder: Path, inside: Inside) -> None:
    inside("db", "upgrade", folder=folder)
    with closing(sqlite3.connect(folder / "data" / "cdrhub.db", isolation_level=None)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'no'); END")
    done = cdrhub("import", "lagos", "-", folder=folder, stdin=LINES)
    assert done.stdout.startswith("3 records: 3 new, 0 already there, 3 in suspense")
    assert "a record is refused" in done.stderr


def test_a_replay_goes_on_after_a_call_that_the_database_refuses(imported: Path, rows: Rows) -> None:
    (refused, _) = rows("calls", folder=imported)
    with closing(sqlite3.connect(imported / "data" / "cdrhub.db", isolation_level=None)) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON calls "
            f"WHEN NEW.call_key = '{refused['call_key']}' BEGIN SELECT RAISE(ABORT, 'it is sacred'); END"
        )
    (imported / "config.toml").write_text(SOURCE + 'timezone = "Africa/Lagos"\n')
    done = cdrhub("replay", "--source", "lagos", "--with-config", "current", "--format", "csv", folder=imported)
    assert done.returncode == DIFFERENT
    assert done.stderr == (
        "cdrhub: 1 changed, 1 failed\n"
        "cdrhub: what failed stays as it is; please report it with what is said of its records\n"
    )
    (failed,) = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["what"] == "failed"]
    assert (failed["call_key"], failed["column"][:7]) == (refused["call_key"], "record ")
    assert "it is sacred" in failed["after"]


def test_what_a_replay_could_not_do_is_told_also_where_nobody_reads_the_table(imported: Path) -> None:
    with closing(sqlite3.connect(imported / "data" / "cdrhub.db", isolation_level=None)) as database:
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON calls BEGIN SELECT RAISE(ABORT, 'no'); END")
    (imported / "config.toml").write_text(SOURCE + 'timezone = "Africa/Lagos"\n')
    done = cdrhub(
        *("replay", "--source", "lagos", "--with-config", "current"),
        folder=imported,
        through=(sys.executable, "-c", UNREAD),
    )
    assert done.returncode == DIFFERENT
    assert done.stderr.startswith("cdrhub: 2 failed\n")


AGENTS = (
    b"event=login&agentno=7001&AgentGroupId=301&eventTime=2026-03-09 08:00:00&\n"
    b"event=paused&agentno=7001&eventTime=2026-03-09 10:00:00&\n"
    b"event=hangupacw&agentno=7002&eventTime=2026-03-09 10:30:00&\n"
)
SHANGHAI = '[sources.shanghai]\ntype = "astercc"\npath = "/ingest/astercc/0123456789abcdef"\n'


def test_states_of_agents_are_listed_and_replayed(tmp_path: Path, inside: Inside, rows: Rows) -> None:
    (tmp_path / "config.toml").write_text(SHANGHAI + 'timezone = "Asia/Shanghai"\n')
    done = cdrhub("import", "shanghai", "-", folder=tmp_path, stdin=AGENTS)
    assert done.stdout.startswith("3 records: 3 new, 0 already there, 0 in suspense, 0 without a call; 0 calls created")
    table = cdrhub("agents", folder=tmp_path).stdout
    assert re.findall("wrap_up|on_break|available", table) == ["wrap_up", "on_break", "available"]
    assert [row["at"] for row in rows("agents", "--agent", "7001", folder=tmp_path)] == [
        "2026-03-09T02:00:00+00:00",
        "2026-03-09T00:00:00+00:00",
    ]
    filters = ("--since", "2026-03-09T01:00", "--kind", "status", "--source", "shanghai")
    (one,) = rows("agents", "list", *filters, folder=tmp_path)
    assert (one["state"], one["state_raw"], one["queue"], one["flags"]) == ("on_break", "paused", None, [])
    (tmp_path / "config.toml").write_text(SHANGHAI + 'timezone = "UTC"\n')
    current = ("replay", "--source", "shanghai", "--with-config", "current", "--format", "ndjson")
    dry = inside(*current, "--dry-run", folder=tmp_path)
    assert dry.stderr == "cdrhub: would be 3 changed\n"
    changes = [json.loads(line) for line in dry.stdout.splitlines()]
    assert {re.sub(r"\d+\.at", "N.at", one["column"]) for one in changes} == {
        "agent 7001, record N.at",
        "agent 7002, record N.at",
    }
    assert {one["after"][11:16] for one in changes} == {"08:00", "10:00", "10:30"}
    assert inside(*current, folder=tmp_path).stdout == dry.stdout
    assert {row["at"][11:16] for row in rows("agents", folder=tmp_path)} == {"08:00", "10:00", "10:30"}
    assert inside(*current, folder=tmp_path).stdout == ""


def test_coverage_of_a_source_that_was_never_heard(folder: Path) -> None:
    cdrhub("db", "upgrade", folder=folder)
    done = cdrhub("coverage", folder=folder)
    assert (done.returncode, done.stdout) == (0, "nothing was noted in this time\n")


@pytest.mark.usefixtures("interruptible")
def test_an_import_that_is_interrupted_says_that_it_may_be_run_again(tmp_path: Path, inside: Inside) -> None:
    (tmp_path / "config.toml").write_text(SOURCE)
    (tmp_path / "cdr.log").write_bytes(LINES)
    arguments = [sys.executable, "-m", "cdrhub", "import", "lagos", "cdr.log", "-"]
    with subprocess.Popen(arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=tmp_path) as importing:
        deadline = time.monotonic() + SECONDS
        while inside("calls", folder=tmp_path).stdout.count("lagos") < 2:
            assert time.monotonic() < deadline
        assert importing.stdin is not None
        importing.stdin.write(b"\n")
        importing.stdin.flush()
        while fcntl.ioctl(importing.stdin, termios.FIONREAD, bytes(4)) != bytes(4):  # until it reads on from there
            assert time.monotonic() < deadline
        importing.send_signal(signal.SIGINT)
        said, errors = importing.communicate(timeout=30)
    assert (importing.returncode, said) == (130, b"")
    stays, end = errors.splitlines()
    assert stays.startswith(b"cdrhub: what was imported so far stays; run it again for the rest")
    assert end == b"cdrhub: interrupted"
