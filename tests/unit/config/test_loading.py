"""What a configuration file may hold, and what is said about each mistake: with line, key and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.config import Config, Role, parse
from cdrhub.errors import ConfigError
from support.rights import without_rights

SECRET = "0123456789abcdef"
VENDOR = '[sources.vendor]\ntype = "voicenter"\npath = "/ingest/voicenter/0123456789abcdef"\n'
LAGOS = '[sources.lagos]\ntype = "3cx"\nlisten = "127.0.0.1:5555"\n'
HOOK = (
    '[[broadcast.webhooks]]\nname = "crm"\nurl = "https://crm.example.com/hooks"\n'
    'secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="\n'
)


def load_text(text: str, environ: Mapping[str, str] | None = None, *, folder: Path = Path()) -> Config:
    return parse(text, path=folder / "config.toml", environ=environ or {})


def problems(text: str, environ: Mapping[str, str] | None = None, *, folder: Path = Path()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, environ, folder=folder)
    return [line.removeprefix(f"{folder / 'config.toml'}:") for line in str(caught.value).splitlines()]


def test_an_empty_file_is_a_configuration_of_defaults(tmp_path: Path) -> None:
    config = load_text("", folder=tmp_path)
    assert config.http.listen == "127.0.0.1:8080"
    assert config.hub.data_dir == tmp_path / "data"
    assert config.database.url.get_secret_value() == f"sqlite:///{tmp_path}/data/cdrhub.db"
    assert config.sources == {}


def test_a_source_has_the_model_of_its_system() -> None:
    config = load_text(LAGOS + 'quiet_after = "1h30m"\nhours = "mon-fri 08:00-18:00"\nregion = "NG"')
    source = config.sources["lagos"]
    assert source.type == "3cx"
    assert source.quiet_after == timedelta(minutes=90)
    assert source.listen_addresses() == ("127.0.0.1:5555",)
    assert config.settings("lagos").region == "NG"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[hub]\nlog_formt = "json"', "2: hub.log_formt: there is no such key; did you mean 'log_format'?"),
        ("[hub]\nshutdown_seconds = 0", "2: hub.shutdown_seconds: must be 1 or more"),
        ('[hub]\nshutdown_seconds = "soon"', "2: hub.shutdown_seconds: must be a number"),
        ("[database]\nbatch_records = 1.5", "2: database.batch_records: must be a whole number"),
        ("[retention]\nraw_days = true", "2: retention.raw_days: must be a number, not true or false"),
        ("[hub]\nshutdown_seconds = false", "2: hub.shutdown_seconds: must be a number, not true or false"),
        (LAGOS + "settle_seconds = false", "4: sources.lagos.settle_seconds: must be a number, not true or false"),
        ("[redial]\nnumber_cap = true", "2: redial.number_cap: must be a number, not true or false"),
        (
            '[redial.case_lookup]\nurl = "https://crm.example/{code}"\ntimeout_seconds = true',
            "3: redial.case_lookup.timeout_seconds: must be a number, not true or false",
        ),
        (
            '[hub]\nlog_level = "warn"',
            "2: hub.log_level: 'warn' is not one of debug, info, warning, error; did you mean 'warning'?",
        ),
        (
            '[broadcast.webhooks.crm]\nurl = "https://crm.example.com"',
            "1: broadcast.webhooks: may be there several times: write [[…webhooks]] with two brackets",
        ),
        ("[hubb]\nx = 1", "1: hubb: there is no such table; did you mean 'hub'?"),
        ("hub = 3", "1: hub: must be a table: write [hub]"),
        ('[redial]\nmode = "of"', "2: redial.mode: 'of' is not one of off, observe, on; did you mean 'off'?"),
        ('[redial]\nwindow = "21:00-8:00"', "2: redial.window: is not a calling window: write e.g. "),
        ('[redial]\nwindow = "21:00-08:00"', "2: redial.window: is not a calling window: write e.g. "),
        ('[redial]\ncool_down = { bussy = "5m" }', "2: redial.cool_down: 'bussy' is not a result: there are "),
        ("[redial]\nresult_wait_seconds = 300", "2: redial.result_wait_seconds: must be less than max_age_seconds"),
        ("[redial]\ndiallers = 3", "2: redial.diallers: must be tables: write [redial.diallers.<name>]"),
        ("[redial.diallers.crm]\nx = 1", "1: redial.diallers.crm.type: is missing: what dials"),
        ('[redial.diallers.crm]\ntype = "webhok"', "2: redial.diallers.crm.type: there is no dialler type 'webhok'"),
        (
            HOOK + 'types = ["cal.*"]',
            "5: broadcast.webhooks[0].types[0]: 'cal.*' matches no event: write e.g. 'call.*'",
        ),
        (HOOK + 'sources = ["lagoss"]', "5: broadcast.webhooks[0].sources: there is no source 'lagoss'"),
        (HOOK + 'privacy = "pseudonym"', "1: broadcast.pseudonym_key: is missing: a webhook has privacy = 'pseudonym'"),
        (HOOK + HOOK, "6: broadcast.webhooks[1].name: another webhook is called 'crm' too"),
        (
            HOOK.replace("whsec_MDEy", "whsec_="),
            "4: broadcast.webhooks[0].secret: is no secret of Standard Webhooks: write whsec_ and 24 to 64 random",
        ),
        (HOOK.replace("https:", "ftp:"), "3: broadcast.webhooks[0].url: is not an http:// or https:// URL with a host"),
        (
            LAGOS + 'dialler = "crm"',
            "4: sources.lagos.dialler: there is no table [redial.diallers.crm]: there is none yet",
        ),
        (LAGOS + "entries = []", "4: sources.lagos.entries: there is no such key: name a CSV file with `directory`"),
        (LAGOS + 'timezone = "Afrika/Lagos"', "4: sources.lagos.timezone: "),
        (
            LAGOS + 'quiet_after = "1x"',
            '4: sources.lagos.quiet_after: is not a duration: write "15m", "2h30m", "1d" or a',
        ),
        (LAGOS + 'hours = "mon-fry 8:00-18:00"', "4: sources.lagos.hours: 'fry' is no weekday: there are mon, tue"),
        (LAGOS + 'hours = "mon 8-18"', "4: sources.lagos.hours: 'mon 8-18' are no hours: write"),
        (LAGOS + 'into = "lagoss"', "4: sources.lagos.into: there is no source 'lagoss'; did you mean 'lagos'?"),
        (LAGOS + 'into = "lagos"', "4: sources.lagos.into: names the source itself: leave it out"),
        (LAGOS + 'directory = "none.csv"', "4: sources.lagos.directory: "),
        ('[sources.x]\ntype = "3xc"', "2: sources.x.type: there is no source type '3xc': did you mean '3cx'?"),
        ('[sources.x]\nmode = "listen"', '1: sources.x.type: is missing: the phone system, e.g. type = "3cx"'),
        ("[sources]\nx = 1", "2: sources.x: must be a table: write [sources.x]"),
        ('[sources.Lagos]\ntype = "3cx"', "1: sources.Lagos: a source's name begins with a-z or 0-9"),
        ('[sources.x]\ntype = "3cx"\nmode = "connect"', "1: sources.x.host: is missing: mode = 'connect' needs"),
        ('[sources.x]\ntype = "voicenter"', "1: sources.x.path: is missing: Path the account pushes to"),
        ('[http]\nlisten = "8080"', "2: http.listen: '8080' is not an address: write host:port"),
        (
            '[http]\nlisten = "[::1]:99999"',
            "2: http.listen: '[::1]:99999' is not an address: a port is a number up to 65535",
        ),
        ("[http]\nmax_body = 16_777_217", "2: http.max_body: must be 16777216 or less"),
        (VENDOR + "max_body = 16_777_217", "4: sources.vendor.max_body: must be 16777216 or less"),
        ('[http]\ntls_key = "k.pem"', "1: http.tls_certificate: is missing: tls_certificate and tls_key go together"),
        ('[http]\ntrusted_proxies = ["10.0.0.0/33"]', "2: http.trusted_proxies[0]: '10.0.0.0/33' is not a network: "),
        ('[database]\nurl = "mysql://h/x"', "2: database.url: must begin with sqlite:///, postgresql:// or mariadb://"),
        ('[database]\nurl = "sqlite:x.db"', "2: database.url: must begin with sqlite:///, postgresql:// or mariadb://"),
        (
            '[database]\nurl = "sqlite:/x.db"',
            "2: database.url: must begin with sqlite:///, postgresql:// or mariadb://",
        ),
        ('[database]\nurl = "postgresql:/h/x"', "2: database.url: must begin with sqlite:///, postgresql:// or maria"),
        ('[database]\nurl = "sqlite:///x.db?mode=ro"', "2: database.url: takes no options: write the file alone"),
        ('[database]\nurl = "sqlite://"', "2: database.url: must name a file: sqlite:///data/cdrhub.db"),
        (
            '[database]\nurl = "postgresql://h"',
            "2: database.url: must name a database: postgresql://user:password@host/cdrhub",
        ),
        (
            '[database]\nurl = "postgresql://u:a@b@h/x"',
            "2: database.url: has a password with an @ in it: write it as a reference such as ${PGPASSWORD}, or the @",
        ),
        ('[database]\nurl = "mariadb://u:a@/b@h/x"', "2: database.url: has a password with an @ in it: "),
        ('[database]\nurl = "postgresql://u:a@b/c?d@h/x"', "2: database.url: has a password with an @ in it: "),
        ('[database]\nurl = "postgresql://u:a@b/c#d@h/x"', "2: database.url: has a password with an @ in it: "),
        ('[hub]\nname = "a\\u0000"', "2: hub.name: must not hold the character NUL"),
        ("[hub]\nx = [", "2: is not TOML: "),
        ("a = 1\na = 2", "2: is not TOML: cannot overwrite a value"),
        ("[redial]\nmode = on", '2: is not TOML: invalid value: text stands in quotes, as in mode = "on"'),
        ('[sources.lagos]\ntype = "3CX"', "2: sources.lagos.type: there is no source type '3CX': did you mean '3cx'?"),
    ],
)
def test_one_mistake_is_one_line(text: str, expected: str, tmp_path: Path) -> None:
    found = problems(text, folder=tmp_path)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = " + "9" * 5_000, "is not TOML: a number has too many digits"),
        ("a = " + "[" * 5_000, "is nested too deeply"),
        ("a." * 3_000 + "b = 1", "is nested too deeply"),
    ],
    ids=["digits", "arrays", "dotted keys"],
)
def test_what_python_cannot_read_is_a_mistake_like_others(text: str, expected: str, tmp_path: Path) -> None:
    """A reload that met anything else would end the daemon."""
    with pytest.raises(ConfigError, match=expected):
        parse(text, path=tmp_path / "config.toml", environ={})


def test_every_problem_is_listed_in_the_order_of_the_file() -> None:
    found = problems('[hub]\nx = 1\nlog_level = "loud"\n[database]\nconnections = 0\n[sources.a]\ntype = "b"\n')
    assert [line.split(":")[0] for line in found] == ["2", "3", "5", "7"]


def test_references_take_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("p@ss/w:rd\n")
    config = load_text(
        '[hub]\ndata_dir = "${STATE}/x$${y}"\n[database]\nurl = "postgresql://u:${file:pass}@h/${NAME}"\n',
        {"STATE": "/var/lib", "NAME": "calls"},
        folder=tmp_path,
    )
    assert config.hub.data_dir == Path("/var/lib/x${y}")
    assert config.database.url.get_secret_value() == "postgresql://u:p%40ss%2Fw%3Ard@h/calls"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${PGPASSWORD}", "the environment variable PGPASSWORD is not set"),
        ("${EMPTY}", "the environment variable EMPTY is empty"),
        ("${BINARY}", "the environment variable BINARY is not text in UTF-8"),
        ("${file:nowhere}", "the file nowhere cannot be read: No such file or directory"),
        ("${file:empty}", "the file empty is empty"),
        ("${file:binary}", "the file binary is not text in UTF-8"),
        ("${not-a-name}", "'${not-a-name}' is no reference: write ${NAME}, ${file:/path}, or $${ for a plain ${"),
    ],
)
def test_a_missing_reference_is_named_and_nothing_else_is_said_of_the_key(
    reference: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    found = problems(
        f'[database]\nurl = "postgresql://u:{reference}@h/x"', {"EMPTY": "", "BINARY": "\udcff"}, folder=tmp_path
    )
    assert found == [f"2: database.url: {said}"]


def test_no_message_shows_a_secret() -> None:
    environ = {"TOKEN": "hunter2", "ZONE": "Top/Secret-Zone", "LEVEL": "classified"}
    text = (
        '[hub]\nlog_level = "${LEVEL}"\n[[http.tokens]]\nname = "bi"\ntoken = "${TOKEN}"\n'
        + LAGOS
        + 'timezone = "${ZONE}"\n[database]\nurl = "oracle://u:pa55@h/x"\n'
    )
    found = problems(text, environ)
    assert len(found) == 4
    said = "\n".join(found)
    assert not any(secret in said for secret in (*environ.values(), "pa55"))
    assert "${ZONE}" in said
    assert "'${LEVEL}' is not one of" in said


def test_no_repr_shows_a_secret() -> None:
    config = load_text(
        f'[[http.tokens]]\nname = "bi"\ntoken = "{SECRET}"\n[database]\nurl = "postgresql://u:pa55@h/x"\n'
        f'[sources.v]\ntype = "voicenter"\npath = "/ingest/v/{SECRET}"\n'
        f'[sources.l]\ntype = "3cx"\nmode = "http"\npath = "/ingest/l/{SECRET}"\n'
        f'[redial.diallers.v]\ntype = "voicenter"\ncode = "{SECRET}"\nurl = "https://example.com/{SECRET}"\n'
        f'[redial.diallers.a]\ntype = "astercc"\nregion = "DE"\nurl = "https://example.com/{SECRET}"\n'
        f'team = "t"\nmodel_id = "1"\npassword = "{SECRET}"\n'
    )
    shown = f"{config!r} {config} {config.model_dump_json()}"
    assert "pa55" not in shown
    assert SECRET not in repr(config)
    assert config.http.tokens[0].role is Role.READ


TOKEN = f'[[http.tokens]]\nname = "bi"\ntoken = "{SECRET}"\n'
PUSHED = '[sources.v]\ntype = "voicenter"\npath = "/ingest/v/{}"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[http]\nlisten = "0.0.0.0:80"\n', "2: http.listen: 0.0.0.0:80 is not a loopback address and no token is"),
        ('[http]\nlisten = "[::]:80"\n', "2: http.listen: [::]:80 is not a loopback address and no token is"),
        ('[http]\nlisten = "cdr.example:80"\n', "2: http.listen: cdr.example:80 is not a loopback address and no"),
        ('[http]\ntrusted_proxies = ["10.0.0.1"]\n', "2: http.trusted_proxies: behind a proxy others can reach"),
        (
            '[http]\nlisten = "0.0.0.0:80"\n' + TOKEN + PUSHED.format("short"),
            "8: sources.v.path: others than this machine can reach it and it has no secret: add a part of 16",
        ),
        (
            '[http]\ntrusted_proxies = ["10.0.0.1"]\n' + TOKEN + PUSHED.format("short/15-characters"[:-4]),
            "8: sources.v.path: others than this machine can reach it",
        ),
        (TOKEN + TOKEN.replace("bi", "crm"), "6: http.tokens[1].token: another entry has the same token"),
        (TOKEN + TOKEN.replace(SECRET, SECRET + "x"), "5: http.tokens[1].name: another token is called 'bi' too"),
        (TOKEN.replace(SECRET, SECRET[1:]), "3: http.tokens[0].token: must have 16 characters or more"),
        (TOKEN.replace(SECRET, SECRET + "\\n"), "3: http.tokens[0].token: begins or ends with a blank, or holds a"),
        (TOKEN.replace(SECRET, " " * 16), "3: http.tokens[0].token: begins or ends with a blank, or holds a control"),
        (PUSHED.format(SECRET) + PUSHED.format(SECRET).replace("sources.v", "sources.w"), "6: sources.w.path: the"),
        (LAGOS + LAGOS.replace("lagos", "ibadan"), "6: sources.ibadan.listen: the source 'lagos' listens"),
        (LAGOS + LAGOS.replace("lagos", "b").replace("127.0.0.1", "0.0.0.0"), "6: sources.b.listen: the source"),
        ('[http]\nlisten = "127.0.0.1:5555"\n' + LAGOS, "5: sources.lagos.listen: http.listen listens on port"),
        (LAGOS + 'into = "b"\n[sources.b]\ntype = "3cx"\nlisten = "[::1]:1"\ninto = "c"\n' + LAGOS.replace("lagos", "c")
         .replace("5555", "2"), "4: sources.lagos.into: the source 'b' has an `into` itself: name that one"),
    ],
)  # fmt: skip
def test_what_would_not_be_safe_or_cannot_stand_together_is_refused(text: str, expected: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        PUSHED.format("short"),
        '[http]\nlisten = "[::1]:80"\n' + PUSHED.format("short"),
        '[http]\nlisten = "localhost:80"\n' + PUSHED.format("short"),
        '[http]\nlisten = "0.0.0.0:80"\n' + TOKEN + PUSHED.format(SECRET),
        '[http]\nlisten = "127.0.0.1:0"\n'
        + LAGOS.replace("5555", "0")
        + LAGOS.replace("5555", "0").replace("lagos", "b"),
        LAGOS + LAGOS.replace("lagos", "b").replace("127.0.0.1", "127.0.0.2"),
    ],
)
def test_what_is_safe_is_accepted(text: str) -> None:
    assert load_text(text).sources


READERS = [
    ('type = "freeswitch"\npassword = "secret"\n', "sources.b.host"),
    ('type = "3cx"\nmode = "connect"\nhost = "10.0.0.5"\nport = 5555\n', "sources.b.host"),
    ('type = "3cx"\nmode = "file"\npath = "/var/log/cdr.log"\n', "sources.b.path"),
    ('type = "3cx"\nmode = "directory"\npath = "/var/log/cdr"\n', "sources.b.path"),
    ('type = "enigma"\nkeys = ["cdr", "campaigns"]\n', "sources.b.keys"),
]


@pytest.mark.parametrize(("table", "key"), READERS)
def test_two_sources_that_read_the_same_would_have_every_call_twice(table: str, key: str) -> None:
    found = problems(f'[sources.a]\n{table}[sources.b]\n{table.replace(""""cdr", """, "")}')
    assert len(found) == 1
    assert f"{key}: the source 'a' reads it too" in found[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://:a-password@10.0.0.5", "redis://someone:b@10.0.0.5:6379/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
    ],
)
def test_two_spellings_of_a_redis_lead_to_one_list(one: str, other: str) -> None:
    table = '[sources.{}]\ntype = "enigma"\nredis = "{}"\n'
    (found,) = problems(table.format("a", one) + table.format("b", other))
    assert "sources.b.keys: the source 'a' reads it too" in found
    assert "password" not in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('type = "freeswitch"\npassword = "secret"\n', 'type = "freeswitch"\npassword = "secret"\nport = 8022\n'),
        ('type = "enigma"\nkeys = ["cdr"]\n', 'type = "enigma"\nkeys = ["campaigns"]\n'),
        ('type = "enigma"\n', 'type = "enigma"\nredis = "redis://127.0.0.1:6379/1"\n'),
        (READERS[3][0], READERS[3][0] + 'pattern = "other-*.log"\n'),
    ],
)
def test_two_sources_that_read_different_things_are_two(one: str, other: str) -> None:
    assert len(load_text(f"[sources.a]\n{one}[sources.b]\n{other}").sources) == 2


WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
WITH_URLS = [
    f'[[broadcast.webhooks]]\nname = "crm"\nsecret = "{WHSEC}"\nurl = "{{}}/"\n',
    f'[redial.diallers.own]\ntype = "webhook"\nsecret = "{WHSEC}"\nurl = "{{}}/"\n',
    '# a\n\n[redial.case_lookup]\nurl = "{}/{{code}}"\n',
]
WHERE = ["broadcast.webhooks[0]", "redial.diallers.own", "redial.case_lookup"]


@pytest.mark.parametrize(("table", "where"), [*zip(WITH_URLS, WHERE, strict=True)], ids=WHERE)
@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost", "[fd00::1]", "10.1", "169.254.169.254"])
def test_a_url_to_which_nothing_would_be_sent_is_refused(table: str, where: str, host: str) -> None:
    text = table.format(f"http://{host}")
    assert problems(text) == [
        f"4: {where}.url: leads into a private network, so nothing is sent: add `allow_private = true` to its table "
        "if it may"
    ]
    assert load_text(text + "allow_private = true\n")


@pytest.mark.parametrize("table", WITH_URLS, ids=WHERE)
def test_a_url_that_names_its_host_is_for_the_resolver(table: str) -> None:
    assert load_text(table.format("https://crm.example"))


def test_a_directory_file_becomes_entries_and_part_of_the_revision(tmp_path: Path) -> None:
    file = tmp_path / "lagos.csv"
    text = LAGOS + 'directory = "lagos.csv"'
    file.write_text("number,kind,name\n611,queue,Sales\n")
    before = load_text(text, folder=tmp_path)
    assert [(entry.number, entry.kind, entry.name) for entry in before.entries["lagos"]] == [("611", "queue", "Sales")]
    file.write_text("number,kind,name\n611,queue,Sales\n612,ivr,Menu\n")
    assert load_text(text, folder=tmp_path).revision("lagos") != before.revision("lagos")


def test_a_mistake_in_a_directory_file_names_both_lines(tmp_path: Path) -> None:
    (tmp_path / "lagos.csv").write_text("number,kind\n611,que\n")
    found = problems(LAGOS + 'directory = "lagos.csv"', folder=tmp_path)
    assert found == [
        f"4: sources.lagos.directory: {tmp_path}/lagos.csv:2: kind: 'que' is not one of person, queue, ivr, voicemail, "
        "conference; did you mean 'queue'?"
    ]


def test_only_what_decoding_needs_is_in_the_revision() -> None:
    first = load_text(LAGOS).revision("lagos")
    assert len(first) == 16
    assert load_text(LAGOS + 'allow = ["10.0.0.0/8"]\nquiet_after = 60').revision("lagos") == first
    assert load_text(LAGOS + 'timezone = "Africa/Lagos"').revision("lagos") != first


def _outcome(text: str) -> str | None:
    """What a ConfigError says of `text`; None if it is a configuration."""
    try:
        load_text(text)
    except ConfigError as error:
        return str(error)
    return None


@given(st.text(max_size=300))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    said = _outcome(text)
    assert said is None or said.startswith("config.toml:")


_toml_values = st.sampled_from(
    ['"x"', "1", "-1", "1e400", "nan", "true", "[]", "[1]", "{}", "{ a = 1 }", "1979-05-27", '"${X}"']
)
_toml_keys = st.sampled_from(
    ["hub.data_dir", "hub.shutdown_seconds", "database.url", "http.listen", "http.trusted_proxies", "http.tokens",
     "http.max_body", "retention.raw_days", "sources", "sources.a", "sources.a.type", "sources.a.listen",
     "sources.a.quiet_after", "sources.a.hours", "sources.a.fields", "sources.a.directory", "sources.a.into"]
)  # fmt: skip


@given(st.dictionaries(_toml_keys, _toml_values, max_size=4))
def test_any_value_of_any_key_is_accepted_or_named(pairs: dict[str, str]) -> None:
    said = _outcome("".join(f"{key} = {value}\n" for key, value in pairs.items()))
    assert said is None or said.startswith("config.toml:")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('region = "ng"', "region: 'ng' is not a country: did you mean 'NG'?"),
        ('region = "UK"', "region: 'UK' is not a country: did you mean 'GB'?"),
        ('region = "Nigeria"', "region: 'Nigeria' is not a country: write a two-letter country such as 'NG'"),
        ('region = "XX"', "region: 'XX' is not a country: write a two-letter country such as 'NG'"),
        ('extensions = "("', "extensions: is not a regular expression ("),
    ],
)
def test_a_key_of_a_source_is_refused_in_words(keys: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(LAGOS + keys)
    assert f": sources.lagos.{said}" in str(caught.value)
    assert "^" not in str(caught.value).partition("write e.g.")[0]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/voicenter/0123456789abcdef", "must begin with /ingest/"),
        ("/ingest/../0123456789abcdef", "has a part that is . or .., with which nothing can be sent to it"),
        ("/ingest/0123456789 abcdef", "goes on after /ingest/ with letters, digits and the characters . _ ~ / - only"),
    ],
)
def test_an_ingest_path_is_refused_in_words_that_do_not_show_it(path: str, said: str) -> None:
    for system in ("voicenter", "astercc", "freeswitch-cdr"):
        with pytest.raises(ConfigError) as caught:
            load_text(f'[sources.a]\ntype = "{system}"\npath = "{path}"\n')
        assert str(caught.value).endswith(f"sources.a.path: {said}")


def test_a_certificate_in_a_folder_of_somebody_else_is_a_mistake_like_any_other(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    with without_rights(live):
        found = problems(f'[http]\ntls_certificate = "{live}/chain.pem"\ntls_key = "{live}/key.pem"', folder=tmp_path)
    live.chmod(0o700)
    assert found == [
        f"2: http.tls_certificate: {live}/chain.pem: Permission denied",
        f"3: http.tls_key: {live}/key.pem: Permission denied",
    ]
