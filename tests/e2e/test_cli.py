"""The real program: exit codes, what is said on stderr, and that no traceback reaches a user."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pwd
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cdrhub.cli.app import app
from cdrhub.cli.failure import exit_code_of
from cdrhub.model.record import digest_of
from support.processes import python

DIFFERENT, USAGE, DATA, NO_INPUT, UNAVAILABLE, CONFIG = 1, 64, 65, 66, 69, 78
SOURCE = '[sources.lagos]\ntype = "3cx"\nlisten = "127.0.0.1:0"\nregion = "NG"\n'
LINES = (
    b"Call 1,00000172FF10D141_1,00:00:30,2020/06/29 07:53:11,2020/06/29 07:53:20,2020/06/29 07:53:50,TerminatedBySrc,"
    b"08039100000,Ext.114,10000,114,114,,,,,,,,Chain: 08039100000;Ext.114;\r\n"
    b"Call 2,00000172FF10D142_2,,2020/06/29 07:54:11,,2020/06/29 07:54:20,Failed_Cancelled,"
    b"Ext.195,Ext.196,195,196,196,,,,,,,,\r\n"
    b"Call 3,not,enough,fields\r\n"
)


#: Runs a program whose output goes to a pipe that nobody reads any more.
UNREAD = """
import os, sys
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 1)
os.execv(sys.argv[1], sys.argv[1:])
"""


def cdrhub(
    *arguments: str | Path,
    folder: Path,
    stdin: bytes | None = None,
    environ: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """The program's run in `folder`, with nothing of this machine's configuration."""
    done = subprocess.run(
        [*through, sys.executable, "-m", "cdrhub", *map(str, arguments)],
        cwd=folder,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=60,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "USER": "tester",
            "COLUMNS": "200",
            "PYTHONWARNINGS": "error",
            **(environ or {}),
        },
    )
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr
    return result


Inside = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The same program in this process, for tables of many short runs."""

    def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        for name in ("EDITOR", "VISUAL", "CDRHUB_CONFIG", "CDRHUB_DEBUG"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("USER", "tester")
        monkeypatch.setenv("COLUMNS", "200")
        code = exit_code_of(lambda: app(arguments, prog_name="cdrhub", standalone_mode=False))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration of one 3CX source on SQLite."""
    (tmp_path / "config.toml").write_text(SOURCE)
    return tmp_path


def test_version_and_help(tmp_path: Path) -> None:
    assert re.fullmatch(r"cdrhub \d+\.\d+\.\d+\n", cdrhub("--version", folder=tmp_path).stdout)
    shown = cdrhub("--help", folder=tmp_path)
    assert shown.returncode == 0
    for command in (
        "run",
        "check",
        "demo",
        "simulate",
        "calls",
        "suspense",
        "replay",
        "import",
        "coverage",
        "db",
        "config",
    ):
        assert re.search(rf"\b{command}\b", shown.stdout)


def test_help_loads_neither_database_nor_phone_systems() -> None:
    loads = (
        "import sys\nfrom cdrhub.cli.app import app\n"
        "heavy = {'sqlalchemy', 'pydantic', 'aiohttp', 'phonenumbers', 'lxml', 'greenswitch'} & sys.modules.keys()\n"
        "print(*sorted(heavy))"
    )
    done = python(loads)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekc"], "cdrhub: No such command 'chekc'. Did you mean 'check'? (try: cdrhub --help)\n"),
        (["run", "--port"], "cdrhub: No such option: --port (try: cdrhub run --help)\n"),
        (["simulate", "3cx", "--to", "nowhere"], "cdrhub: --to: 'nowhere' is not an address: write host:port, e.g. "),
        (["simulate", "voicenter", "--to", "x"], "cdrhub: --to: 'x' is not a URL: write http"),
        (
            ["suspense", "show", "9" * 20],
            "cdrhub: Invalid value for 'ID': Input should be less than or equal to 9223372036854775807",
        ),
        (["suspense", "replay", "0"], "cdrhub: Invalid value for '[ID…]': Input should be greater than or equal to 1"),
        (["simulate", "3cx", "--to", "a:1", "--region", "x"], "cdrhub: --region: 'X' has no numbers: write a two-"),
    ],
)
def test_misuse_is_64(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = cdrhub(*arguments, folder=tmp_path)
    assert done.returncode == USAGE
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["run"], ["check"], ["db", "upgrade"], ["import", "lagos", "-"]])
def test_a_bad_configuration_is_78_and_every_problem_is_one_line(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[hub]\nlog_formt = "json"\n[http]\nlisten = "0.0.0.0:80"\nmax_body = 1\n')
    done = cdrhub(*command, folder=tmp_path)
    assert done.returncode == CONFIG
    assert done.stderr.splitlines() == [
        "cdrhub: config.toml:2: hub.log_formt: there is no such key; did you mean 'log_format'?",
        "cdrhub: config.toml:5: http.max_body: must be 1024 or more",
    ]
    assert done.stdout == ""


def test_no_configuration_is_78_and_says_where_it_looked(tmp_path: Path) -> None:
    done = cdrhub("check", folder=tmp_path)
    assert done.returncode == CONFIG
    assert "give one with --config FILE or CDRHUB_CONFIG" in done.stderr


# Root, too, is stopped by the modes of files.
HEEDING_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Path]:
    """A folder with a configuration in it, and one in a folder below, that nobody may read."""
    below = tmp_path / "below"
    below.mkdir()
    for file in (tmp_path / "config.toml", below / "config.toml"):
        file.write_text("")
    (tmp_path / "config.toml").chmod(0)
    below.chmod(0)
    yield tmp_path
    below.chmod(0o700)


@pytest.mark.parametrize("named", [[], ["--config", "config.toml"], ["--config", "below/config.toml"]])
def test_a_configuration_that_may_not_be_read_is_78(named: list[str], shut: Path) -> None:
    done = cdrhub("run", *named, folder=shut, through=HEEDING_MODES)
    assert done.returncode == CONFIG
    assert done.stderr == f"cdrhub: {(named or ['config.toml'])[-1]}: cannot be read: Permission denied\n"


def test_a_user_who_may_not_enter_the_folder_that_he_is_in_is_told_so_too(shut: Path) -> None:
    (shut / "below").chmod(0o700)
    closing = ("sh", "-c", 'chmod 0 . && exec "$@"', "sh")
    done = cdrhub("check", folder=shut / "below", through=(*closing, *HEEDING_MODES))
    assert (done.returncode, done.stderr) == (CONFIG, "cdrhub: config.toml: cannot be read: Permission denied\n")


def test_the_configuration_may_be_named_by_the_environment(folder: Path) -> None:
    (folder / "config.toml").rename(folder / "other.toml")
    done = cdrhub("check", folder=folder, environ={"CDRHUB_CONFIG": "other.toml"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("other.toml: good, 1 source\n")
    assert "lagos" in done.stdout


def test_check_warns_of_a_door_that_is_open_to_all(folder: Path) -> None:
    (folder / "config.toml").write_text(SOURCE.replace("127.0.0.1:0", "0.0.0.0:5555"))
    done = cdrhub("check", folder=folder)
    assert done.returncode == 0
    assert done.stderr == (
        "cdrhub: config.toml: sources.lagos: everyone who reaches 0.0.0.0:5555 may send records: set `allow`\n"
    )


def test_a_source_that_cannot_run_yet_is_named_by_check(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[sources.callcentre]\ntype = "freeswitch"\n')
    done = cdrhub("check", folder=tmp_path)
    assert done.returncode == CONFIG
    assert "sources.callcentre" in done.stderr


def test_the_schema_is_json(tmp_path: Path) -> None:
    done = cdrhub("config", "schema", folder=tmp_path)
    assert done.returncode == 0
    assert set(json.loads(done.stdout)["properties"]) == {
        "hub",
        "database",
        "http",
        "retention",
        "redial",
        "broadcast",
        "sources",
    }


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


def test_an_unknown_source_is_66_with_a_suggestion(folder: Path) -> None:
    done = cdrhub("import", "lagoss", "-", folder=folder, stdin=b"")
    assert done.returncode == NO_INPUT
    assert done.stderr == "cdrhub: there is no source 'lagoss' in config.toml; did you mean 'lagos'?\n"


def test_a_missing_file_is_66(folder: Path) -> None:
    done = cdrhub("import", "lagos", "nowhere.log", folder=folder)
    assert done.returncode == NO_INPUT
    assert done.stderr == "cdrhub: nowhere.log: there is no such file\n"


def test_an_import_can_be_repeated_and_keeps_what_it_cannot_read(folder: Path) -> None:
    (folder / "cdr.log").write_bytes(LINES)
    first = cdrhub("import", "lagos", "cdr.log", folder=folder)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "3 records: 3 new, 0 already there, 1 in suspense, 0 without a call; 2 calls created, 0 completed",
        "look at what is in suspense with: cdrhub suspense list --source lagos",
    ]
    again = cdrhub("import", "lagos", "-", folder=folder, stdin=LINES)
    assert again.stdout.startswith("3 records: 0 new, 3 already there, 0 in suspense")


def test_an_import_unpacks_gzip(folder: Path) -> None:
    (folder / "cdr.log.gz").write_bytes(gzip.compress(LINES[:300]) + gzip.compress(LINES[300:]))
    first = cdrhub("import", "lagos", "cdr.log.gz", folder=folder)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("3 records: 3 new, 0 already there, 1 in suspense")
    again = cdrhub("import", "lagos", "-", folder=folder, stdin=gzip.compress(LINES))
    assert again.stdout.startswith("3 records: 0 new, 3 already there, 0 in suspense")


def test_of_a_damaged_gzip_file_everything_before_that_is_imported(folder: Path) -> None:
    lines = b"".join(LINES.splitlines(keepends=True)[0].replace(b"Call 1,", b"Call %d," % n) for n in range(2_000))
    cut = gzip.compress(lines)[:-20]
    (folder / "cut.gz").write_bytes(cut)
    (folder / "too.gz").write_bytes(cut)
    (folder / "cdr.log").write_bytes(LINES)
    whole = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")
    assert whole > 1_900
    done = cdrhub("import", "lagos", "cut.gz", "cdr.log", "too.gz", folder=folder)
    assert done.returncode == DATA
    assert done.stderr.startswith("cdrhub: cut.gz: this gzip file is damaged (")
    assert "; too.gz: this gzip file is damaged (" in done.stderr
    assert "cdr.log" not in done.stderr
    assert done.stdout.startswith(f"{2 * whole + 3} records: ")
    assert cdrhub("import", "lagos", "cdr.log", folder=folder).stdout.startswith("3 records: 0 new, 3 already there")


def test_of_one_that_is_damaged_in_the_middle_all_but_the_last_kilobyte_before_that(folder: Path) -> None:
    lines = b"".join(LINES.splitlines(keepends=True)[0].replace(b"Call 1,", b"Call %d," % n) for n in range(200))
    stored = b"\x00" + struct.pack("<HH", len(lines), len(lines) ^ 0xFFFF) + lines  # RFC 1951, 3.2.4
    (folder / "hit.gz").write_bytes(gzip.compress(b"")[:10] + stored + b"\x07")  # there is no such block
    done = cdrhub("import", "lagos", "hit.gz", folder=folder)
    assert done.returncode == DATA
    assert done.stderr.startswith("cdrhub: hit.gz: this gzip file is damaged (")
    assert int(done.stdout.split()[0]) >= lines[:-1024].count(b"\n")


def test_a_byte_order_mark_makes_no_second_call(folder: Path) -> None:
    (folder / "cdr.log").write_bytes(LINES)
    (folder / "windows.log").write_bytes(b"\xef\xbb\xbf" + LINES)
    cdrhub("import", "lagos", "cdr.log", folder=folder)
    again = cdrhub("import", "lagos", "windows.log", folder=folder)
    assert again.stdout.startswith("3 records: 0 new, 3 already there, 0 in suspense")


def test_a_folder_is_not_imported(folder: Path) -> None:
    (folder / "logs").mkdir()
    done = cdrhub("import", "lagos", "logs", folder=folder)
    assert (done.returncode, done.stderr) == (66, "cdrhub: logs: this is no file\n")


def test_a_file_of_one_record_of_something_else_is_not_imported(folder: Path) -> None:
    (folder / "other.log").write_bytes(b"line 1, of something else\n")
    refused = cdrhub("import", "lagos", "other.log", folder=folder)
    assert refused.returncode == DATA
    assert refused.stderr.startswith("cdrhub: other.log: its only record is not understood as one of lagos (")


def test_a_file_of_something_else_is_not_imported_unless_forced(folder: Path) -> None:
    (folder / "other.log").write_bytes(b"\n".join(b"line %d, of something else" % n for n in range(30)))
    refused = cdrhub("import", "lagos", "other.log", folder=folder)
    assert refused.returncode == DATA
    assert refused.stderr.startswith("cdrhub: other.log: none of the first 20 records is understood as one of lagos (")
    assert "--force" in refused.stderr
    assert cdrhub("suspense", "list", folder=folder).stdout == "nothing is in suspense\n"
    forced = cdrhub("import", "lagos", "other.log", "--force", folder=folder)
    assert forced.stdout.startswith("30 records: 30 new, 0 already there, 30 in suspense")


@pytest.mark.parametrize(
    "command",
    [["calls"], ["calls", "show", "x"], ["suspense", "list"], ["suspense", "replay", "1"], ["coverage"],
     ["replay", "--since", "today"]],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_reads_makes_no_database(command: list[str], folder: Path, inside: Inside) -> None:
    done = inside(*command, folder=folder)
    assert done.returncode == NO_INPUT
    file = folder / "data" / "cdrhub.db"
    assert done.stderr == (f"cdrhub: there is no database at {file}: start the daemon once, or correct database.url\n")
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml"]


def test_a_command_that_finds_an_empty_database_leaves_it_so(folder: Path, inside: Inside, database_url: str) -> None:
    (folder / "config.toml").write_text(f'{SOURCE}[database]\nurl = "{database_url}"\n')
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).touch()
    for command in ("calls", "cases list", "redial pause", "replay --since today"):
        done = inside(*command.split(), folder=folder)
        assert done.returncode == NO_INPUT, done
        assert " is empty: run `cdrhub db upgrade`, start the daemon once, or correct database.url" in done.stderr
    assert "(was empty)" in inside("db", "upgrade", folder=folder).stdout


def test_an_online_check_makes_no_database(folder: Path) -> None:
    (folder / "config.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n' + SOURCE)
    done = cdrhub("check", "--online", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        f"database: {folder}/data/cdrhub.db does not exist yet; the first start makes it ({folder} is writable)"
        in done.stdout
    )
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml"]
    (folder / "data").write_text("a file where a folder is needed")
    blocked = cdrhub("check", "--online", folder=folder)
    assert blocked.returncode == UNAVAILABLE
    assert f"does not exist yet and cannot be made: {folder}/data is not writable" in blocked.stderr


def test_a_simulated_pbx_says_why_it_sends_nothing(tmp_path: Path) -> None:
    dead = ("simulate", "3cx", "--to", "127.0.0.1:1", "--rate", "100", "--seconds", "1")
    why = "cdrhub: 127.0.0.1:1: connection refused: does the hub run, and does the source listen there?"
    done = cdrhub(*dead, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (UNAVAILABLE, "", f"{why}\n")
    waiting = cdrhub(*dead, "--wait", folder=tmp_path)
    assert (waiting.returncode, waiting.stderr) == (1, f"{why}; trying again\n")
    assert waiting.stdout.startswith("0 lines of")


def test_who_acts_is_known_without_the_variables_of_a_login(imported: Path) -> None:
    nobody = {"USER": "", "LOGNAME": ""}
    done = cdrhub("suspense", "discard", "3", "--why", "a probe", folder=imported, environ=nobody)
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(cdrhub("suspense", "show", "3", "--format", "json", folder=imported).stdout)
    assert shown["audit"][0]["actor"] == pwd.getpwuid(os.getuid()).pw_name


def test_a_database_that_is_away_is_69_without_its_password(folder: Path) -> None:
    (folder / "config.toml").write_text(
        '[database]\nurl = "postgresql://u:${PGPASSWORD}@127.0.0.1:1/cdrhub"\n' + SOURCE
    )
    done = cdrhub("import", "lagos", "-", folder=folder, stdin=LINES, environ={"PGPASSWORD": "s3cr3t/word"})
    assert done.returncode == UNAVAILABLE
    assert "127.0.0.1:1" in done.stderr
    assert "s3cr3t" not in done.stderr


def test_upgrade_says_what_it_did(folder: Path) -> None:
    assert "(was empty)" in cdrhub("db", "upgrade", folder=folder).stdout
    assert "already" in cdrhub("db", "upgrade", folder=folder).stdout


@pytest.fixture(scope="module")
def imported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose database has two calls, and one record in suspense."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "config.toml").write_text(SOURCE)
    (folder / "cdr.log").write_bytes(LINES)
    assert cdrhub("import", "lagos", "cdr.log", folder=folder).returncode == 0
    return folder


@pytest.fixture
def imported(imported_once: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(imported_once, tmp_path / "hub"))


Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def rows(inside: Inside) -> Rows:
    """What a listing says in NDJSON."""

    def rows(*arguments: str, folder: Path) -> list[dict[str, Any]]:
        done = inside(*arguments, "--format", "ndjson", folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return rows


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ([], ["2", "1"]),
        (["--limit", "1"], ["2"]),
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
        (["calls", "--number", "x"], USAGE, "--number: 'x' has no digit"),
        (["calls", "--source", "lagoss"], NO_INPUT, "there is no source 'lagoss' in config.toml; did you"),
        (["suspense", "show", "99"], NO_INPUT, "there is no record 99"),
        (["suspense", "discard", "1", "--why", "x"], USAGE, "record 1 is applied, not in suspense"),
        (["suspense", "discard", "3", "--why", " "], USAGE, "--why: say why they are not wanted"),
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


def test_a_record_is_discarded_with_a_reason(imported: Path, inside: Inside, rows: Rows) -> None:
    (broken,) = rows("suspense", "list", "--reason", "wrong_field_count", folder=imported)
    assert rows("suspense", "list", "--reason", "too_long", folder=imported) == []
    again = inside("suspense", "replay", "--all", folder=imported)
    assert again.stdout.startswith("1 record: 0 applied, 0 without a call, 1 still in suspense")
    done = cdrhub("suspense", "discard", str(broken["id"]), "--why", "a probe", folder=imported)
    assert (done.returncode, done.stdout) == (0, "1 record discarded\n")
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


AGENTS = (
    b"event=login&agentno=7001&AgentGroupId=301&eventTime=2026-03-09 08:00:00&\n"
    b"event=paused&agentno=7001&eventTime=2026-03-09 10:00:00&\n"
    b"event=hangupacw&agentno=7002&eventTime=2026-03-09 10:30:00&\n"
)
SHANGHAI = '[sources.shanghai]\ntype = "astercc"\npath = "/ingest/astercc/0123456789abcdef"\n'


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
    (one,) = rows("agents", "--since", "2026-03-09T01:00", "--kind", "status", "--source", "shanghai", folder=tmp_path)
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
