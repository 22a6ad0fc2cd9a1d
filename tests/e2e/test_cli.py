"""The real program: exit codes, what is said on stderr, and that no traceback reaches a user."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

USAGE, NO_INPUT, UNAVAILABLE, CONFIG = 64, 66, 69, 78
SOURCE = '[sources.lagos]\ntype = "3cx"\nlisten = "127.0.0.1:0"\nregion = "NG"\n'
LINES = (
    b"Call 1,00000172FF10D141_1,00:00:30,2020/06/29 07:53:11,2020/06/29 07:53:20,2020/06/29 07:53:50,TerminatedBySrc,"
    b"08039100000,Ext.114,10000,114,114,,,,,,,,Chain: 08039100000;Ext.114;\r\n"
    b"Call 2,00000172FF10D142_2,,2020/06/29 07:54:11,,2020/06/29 07:54:20,Failed_Cancelled,"
    b"Ext.195,Ext.196,195,196,196,,,,,,,,\r\n"
    b"Call 3,not,enough,fields\r\n"
)


def cdrhub(
    *arguments: str | Path, folder: Path, stdin: bytes | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The program's run in `folder`, with nothing of this machine's configuration."""
    done = subprocess.run(
        [sys.executable, "-m", "cdrhub", *map(str, arguments)],
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration of one 3CX source on SQLite."""
    (tmp_path / "config.toml").write_text(SOURCE)
    return tmp_path


def test_version_and_help(tmp_path: Path) -> None:
    assert re.fullmatch(r"cdrhub \d+\.\d+\.\d+\n", cdrhub("--version", folder=tmp_path).stdout)
    shown = cdrhub("--help", folder=tmp_path)
    assert shown.returncode == 0
    for command in ("run", "check", "simulate", "import", "db", "config"):
        assert re.search(rf"\b{command}\b", shown.stdout)


def test_help_loads_neither_database_nor_phone_systems(tmp_path: Path) -> None:
    loads = (
        "import sys\nfrom cdrhub.cli.app import app\n"
        "heavy = {'sqlalchemy', 'pydantic', 'aiohttp', 'phonenumbers', 'lxml', 'greenswitch'} & sys.modules.keys()\n"
        "print(*sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", loads], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (b"\n", b"")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekc"], "cdrhub: No such command 'chekc'. Did you mean 'check'? (try: cdrhub --help)\n"),
        (["run", "--port"], "cdrhub: No such option: --port (try: cdrhub run --help)\n"),
        (["simulate", "3cx", "--to", "nowhere"], "cdrhub: --to: 'nowhere' is not an address: write host:port, e.g. "),
        (["simulate", "voicenter", "--to", "x"], "cdrhub: --to: 'x' is not a URL: write http"),
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
    assert set(json.loads(done.stdout)["properties"]) == {"hub", "database", "http", "retention", "sources"}


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
