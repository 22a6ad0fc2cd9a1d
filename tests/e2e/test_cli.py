"""The real program: exit codes, what is said on stderr, and that no traceback reaches a user."""

from __future__ import annotations

import gzip
import json
import os
import pwd
import re
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.commands import CONFIG, DATA, LINES, NO_INPUT, SOURCE, UNAVAILABLE, USAGE, Inside, cdrhub
from support.processes import python


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


def test_reading_the_settings_loads_nothing_that_serves_or_asks_over_http() -> None:
    """That was a sixth of the time of a short command."""
    example = Path(__file__).parents[2] / "config.example.toml"
    names = re.findall(r"^[^#\n]*\$\{(\w+)\}", example.read_text(), re.MULTILINE)
    loads = (
        "import os, sys\nfrom pathlib import Path\nfrom cdrhub.config import load\n"
        f"os.environ.update(dict.fromkeys({names!r}, 'secret-0123456789abcdef'))\n"
        f"print(len(load(Path({str(example)!r}), os.environ).sources), 'aiohttp' in sys.modules)"
    )
    done = python(loads)
    assert (done.stdout, done.stderr) == ("7 False\n", "")


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
        (["suspense", "replay", "0"], "cdrhub: Invalid value for 'ID': Input should be greater than or equal to 1"),
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


def test_check_warns_of_doors_that_are_open_to_all(folder: Path) -> None:
    (folder / "config.toml").write_text(
        SOURCE.replace("127.0.0.1:0", "0.0.0.0:5555")
        + '[http]\nlisten = "0.0.0.0:8080"\n[[http.tokens]]\nname = "bi"\ntoken = "b7f9f4a61c0e8d2235"\nrole = "read"\n'
    )
    done = cdrhub("check", folder=folder)
    assert done.returncode == 0
    assert done.stderr == (
        "cdrhub: config.toml: http.listen: tokens, secrets and records cross the network in clear: set "
        "`tls_certificate` and `tls_key`, or put a proxy before it and name it in `trusted_proxies`\n"
        "cdrhub: config.toml: sources.lagos: everyone who reaches 0.0.0.0:5555 may send records: set `allow`\n"
    )


def test_check_warns_of_numbers_that_redial_would_not_know(folder: Path) -> None:
    (folder / "config.toml").write_text(SOURCE.replace('region = "NG"\n', "") + '[redial]\nmode = "observe"\n')
    done = cdrhub("check", folder=folder)
    assert done.returncode == 0
    assert done.stderr == (
        "cdrhub: config.toml: sources.lagos: set `region`: without it 0803… and +234 803… are two numbers to redial\n"
    )


def test_check_warns_of_a_tenant_that_no_source_has_and_of_a_secret_that_everybody_knows(folder: Path) -> None:
    (folder / "config.toml").write_text(
        f'{SOURCE}tenant = "acme"\n'
        '[[http.tokens]]\nname = "bi"\ntoken = "0123456789abcdef"\nrole = "read"\ntenant = "acne"\n'
        '[[broadcast.webhooks]]\nname = "crm"\nurl = "https://crm.example.com/"\n'
        'secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="\ntenants = ["acme", "beta"]\n'
    )
    done = cdrhub("check", folder=folder)
    assert done.returncode == 0
    assert done.stderr == (
        "cdrhub: config.toml: broadcast.webhooks: crm: its secret is one of the documentation's, which everybody "
        "knows: make one of your own\n"
        "cdrhub: config.toml: http.tokens: bi: no source has the tenant 'acne'; did you mean 'acme'?\n"
        "cdrhub: config.toml: broadcast.webhooks: crm: no source has the tenant 'beta': there are acme\n"
    )


def test_check_warns_of_calls_that_cannot_be_told_apart(folder: Path) -> None:
    (folder / "config.toml").write_text(f'{SOURCE}fields = ["time-start", "duration", "from-no", "to-no"]\n')
    done = cdrhub("check", folder=folder)
    assert done.returncode == 0
    assert done.stderr == (
        "cdrhub: config.toml: sources.lagos: `fields` has neither historyid nor callid: two equal calls cannot be told "
        "apart, and records that are lost are not noticed\n"
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
    nothing = cdrhub("import", "lagos", "-", folder=folder)
    assert (nothing.returncode, nothing.stderr) == (
        DATA,
        "cdrhub: -: nothing came on standard input: did the command before it fail?\n",
    )


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


def test_an_online_check_proposes_what_a_directory_file_should_name(folder: Path) -> None:
    (folder / "config.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n' + SOURCE)
    gone_at_once = b"08039100000,Ext.611,10000,611,611,,,,,,,,\r\n"
    times = b"00:00:00,2020/06/29 07:53:11,2020/06/29 07:53:11,2020/06/29 07:53:11,TerminatedBySrc"
    lines = b"".join(b"Call %d,,%s,%s" % (number, times, gone_at_once) for number in (1, 2))
    assert cdrhub("import", "lagos", "-", folder=folder, stdin=lines + LINES).returncode == 0
    done = cdrhub("check", "--online", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    proposed = (
        "sources.lagos: 611 behaved like a queue or an IVR in 2 calls, and nothing says what it is: "
        "name it in the directory file, e.g. 611,queue,<name>,, or 611,ivr,<name>,,\n"
    )
    assert proposed in done.stdout
    assert done.stdout.count("behaved like") == 1
    assert "behaved like" not in cdrhub("check", folder=folder).stdout
    (folder / "lagos.csv").write_text("number,kind\nExt.611,queue\n")
    (folder / "config.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n' + SOURCE + 'directory = "lagos.csv"\n')
    assert "behaved like" not in cdrhub("check", "--online", folder=folder).stdout


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
    assert f"hub.data_dir: {folder}/data is not writable" in blocked.stderr
    (folder / "config.toml").write_text('[hub]\ndata_dir = "data/of/hub-1"\n[http]\nlisten = "127.0.0.1:0"\n' + SOURCE)
    below = f"hub.data_dir: {folder}/data/of/hub-1 cannot be made: {folder}/data is not writable"
    assert below in cdrhub("check", "--online", folder=folder).stderr


def test_an_online_check_ends_as_a_start_would_with_another_schema(folder: Path) -> None:
    (folder / "config.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n' + SOURCE)
    (folder / "data").mkdir()
    with closing(sqlite3.connect(folder / "data" / "cdrhub.db")) as connection:
        connection.execute("CREATE TABLE calls (id)")
    done = cdrhub("check", "--online", folder=folder)
    assert done.returncode == CONFIG
    assert done.stderr.endswith("cdrhub.db: it has tables of the same names that cdrhub did not make: calls\n")


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
