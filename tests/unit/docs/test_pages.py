"""The documentation says what there is: every key, metric, reason, command, table and view, and nothing that is not."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdrhub.cli.app import command
from cdrhub.config import parse
from cdrhub.errors import BackOff, EndOfInput, IntakeRefused, NotConnected, Reason
from cdrhub.metrics import _RESULTS, Metrics
from cdrhub.model.agent import AgentKind, AgentWord
from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.redial.carrier import NO_DIALLER, OBSERVED, REDIAL_OFF
from cdrhub.redial.policy import RULES
from cdrhub.sources.registry import names, system
from cdrhub.sources.runner import judge
from cdrhub.store.tables import METADATA
from cdrhub.store.views import VIEWS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
HELP_COLUMNS = 78  #: of a terminal of 80, without its margins: a longer example is broken in two
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FIRST_CELL = re.compile(r"^\| *(.+?) *\|", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows(text: str) -> set[str]:
    """Every word in code marks in the first cell of a table's row."""
    return {word for cell in _FIRST_CELL.findall(text) for word in _CODE.findall(cell)}


def section(text: str, heading: str) -> str:
    """What stands under `heading`, down to the next heading of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found is not None, f"there is no heading {heading!r}"
    end = re.search(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], re.MULTILINE)
    return text[found.end() : found.end() + end.start()] if end else text[found.end() :]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    without_code = _FENCE.sub("", text)
    made = set()
    for heading in _HEADING.findall(without_code):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        made.add(plain.strip().replace(" ", "-"))
    return made


def fenced(language: str) -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        for said, block in _FENCE.findall(path.read_text(encoding="utf-8")):
            if said == language:
                yield path, block


def test_the_tables_of_the_configuration_are_the_models() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "configuration_tables.py", "--check"], check=False, capture_output=True
    )
    assert checked.returncode == 0, "run: .venv/bin/python tools/configuration_tables.py"


def test_every_installed_system_has_its_keys_and_its_page() -> None:
    headings = _HEADING.findall(page("configuration.md"))
    for name in names():
        assert f"Sources of type {name}" in headings
        told = [path.name for path in (DOCS / "sources").glob("*.md") if f"`{name}`" in path.read_text("utf-8")]
        assert told or (DOCS / "sources" / f"{name}.md").is_file(), f"no page tells of sources of type {name}"


def test_the_changelog_names_the_decoder_revision_and_the_schema_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for name in names():
        told = re.findall(rf"^\|.*`{name}`.*?\| (\d+) \|", section(changelog, "Decoder revisions"), re.MULTILINE)
        assert max(map(int, told)) == system(name).decoder_revision
    told = re.findall(r"^\| (\d{4}) \|", section(changelog, "Schema versions"), re.MULTILINE)
    scripts = (ROOT / "src/cdrhub/store/migrations/versions").glob("r*.py")
    assert told == sorted(script.stem.removeprefix("r") for script in scripts)


def test_every_metric_has_its_row_and_every_row_its_metric() -> None:
    there = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in Metrics().registry.collect()
    }
    told = {word for word in rows(section(page("operations.md"), "Metrics")) if re.fullmatch(r"cdrhub_\w+", word)}
    assert told == there


def test_every_result_is_told_and_no_page_tells_of_another() -> None:
    results = set(_RESULTS.values())
    (row,) = (line for line in page("operations.md").splitlines() if line.startswith("| `cdrhub_records_stored_total`"))
    assert set(_CODE.findall(row)) - {"cdrhub_records_stored_total"} == results
    (said,) = (metric for metric in Metrics().registry.collect() if metric.name == "cdrhub_records_stored")
    assert set(re.findall(r"\w+", said.documentation.partition(":")[2].partition(";")[0])) == results
    used = {word for path in PAGES for word in re.findall(r'result=~?"([^"]+)"', path.read_text("utf-8"))}
    assert used
    assert {part for word in used for part in word.split("|")} <= results


def test_no_series_tells_only_when_it_was_made() -> None:
    metrics = Metrics()
    metrics.wrote({"lagos": {"applied": 2}})
    assert b'cdrhub_records_stored_total{result="applied",source="lagos"} 2.0' in metrics.text()
    assert b"_created" not in metrics.text()


def test_every_alert_of_the_page_is_a_rule_and_has_a_series_from_the_start() -> None:
    rules = re.findall(r"^ +expr: (.+)$", (ROOT / "deploy" / "alerts.yaml").read_text("utf-8"), re.MULTILINE)
    table = section(page("operations.md"), "Metrics").partition("Worth an alert")[2].replace(r"\|", "¦")
    told = {_CODE.findall(cell)[0].replace("¦", "|") for cell in _FIRST_CELL.findall(table) if "cdrhub_" in cell}
    assert told | {'up{job="cdrhub"} == 0'} == {re.sub(r'\{source=~"[^"]+"\}', "", rule) for rule in rules}
    metrics = Metrics()
    metrics.expect_source("lagos")
    metrics.expect_dialler("pbx")
    metrics.expect_webhook("crm")
    series = metrics.text().decode()
    for counter, selector in re.findall(r"increase\((cdrhub_\w+)(?:\{(.+?)\})?\[", "\n".join(rules)):
        label, _, values = selector.replace("=~", "=").replace('"', "").partition("=")
        for value in values.split("|"):
            labelled = f'{label}="{value}"' if label else ""
            there = rf"^{counter}\{{.*{labelled}.*\}} 0\.0$"
            assert re.search(there, series, re.MULTILINE), f"{counter} {selector} begins at its first increase"


def test_every_source_event_has_its_row() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "src" / "cdrhub" / "sources").rglob("*.py"))
    counted = set(re.findall(r'\.count\("([a-z_]+)"', code))
    assert counted
    assert counted <= rows(section(page("operations.md"), "Source events"))


def test_every_action_of_the_log_has_its_row() -> None:
    logged = re.compile(r'log\.(?:info|warning|error|exception)\(.*?action="(\w+)"', re.DOTALL)
    code = (path.read_text("utf-8") for path in (ROOT / "src" / "cdrhub").rglob("*.py"))
    actions = {action for text in code for action in logged.findall(text)}
    assert actions
    assert actions - rows(section(page("operations.md"), "Logs")) == set()


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("operations.md", "Source events"),
        ("operations.md", "Logs"),
        ("model.md", "Flags"),
        ("redial.md", "Why a case is paused"),
        ("redial.md", "Rules of decisions"),
    ],
)
def test_no_row_tells_of_a_word_that_the_code_lacks(name: str, heading: str) -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "cdrhub").rglob("*.py"))
    ends = [None, EndOfInput(), BackOff(1, "refused"), IntakeRefused(), NotConnected(), RuntimeError()]
    of_sessions = {f"session_{judge(end).why}" for end in ends}
    told = rows(section(page(name), heading)) - {"state_reason", "what"}
    assert told
    assert {word for word in told if f'"{word}"' not in code} - of_sessions == set()


def test_the_rules_of_redial_stand_in_the_order_in_which_they_are_asked() -> None:
    table = section(page("redial.md"), "Rules").partition("| rule | objects |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [rule.__name__ for rule in RULES]


def test_every_library_that_the_program_needs_is_among_the_decisions() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    told = set(re.findall(r"[\w-]+", section(page("decisions/0001-dependencies.md"), "0001 Dependencies").lower()))
    assert {re.split(r"[\[>=]", one)[0] for one in needed} - told == set()


def test_every_reason_has_its_row_and_every_row_its_reason() -> None:
    assert rows(section(page("suspense.md"), "Reasons")) == {reason.value for reason in Reason}


def test_every_rule_of_redial_and_every_reason_of_a_pause_is_told() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/cdrhub/redial").glob("*.py"))
    told = page("redial.md")
    rules = set(_CODE.findall(section(told, "Rules")))
    assert set(re.findall(r'rule="(\w+)"', sources)) - rules == set()
    paused = set(re.findall(r'result=Result\.PAUSED,[^)]*?reason="(\w+)"', sources))
    assert (paused | {OBSERVED, REDIAL_OFF, NO_DIALLER}) - rows(section(told, "Why a case is paused")) == set()


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Direction", Direction),
        ("State", State),
        ("Disposition", Disposition),
        ("Ended by", EndedBy),
        ("States of agents", [*AgentKind, *AgentWord]),
        ("Roles and outcomes", [*Role, *Outcome]),
    ],
    ids=["direction", "state", "disposition", "ended_by", "agents", "roles"],
)
def test_every_word_of_the_model_is_told(heading: str, words: Sequence[str]) -> None:
    told = set(_CODE.findall(section(page("model.md"), heading)))
    assert {str(word) for word in words} <= told


def test_every_flag_that_the_code_sets_is_told() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "src" / "cdrhub").rglob("*.py"))
    set_somewhere = set(re.findall(r'flags\.add\("([a-z_]+)"\)', code))
    assert set_somewhere
    assert set_somewhere <= rows(section(page("model.md"), "Flags"))


def test_every_column_of_calls_and_legs_is_told() -> None:
    model = page("model.md")
    calls = rows(section(model, "Columns of calls"))
    legs = rows(section(model, "Columns of call_legs"))
    assert {column.name for column in METADATA.tables["calls"].columns} <= calls
    assert {column.name for column in METADATA.tables["call_legs"].columns} <= legs


def test_every_table_and_its_columns_are_told() -> None:
    database = page("database.md")
    assert set(METADATA.tables) == rows(section(database, "Tables")) - _columns_in(database)
    for name, table in METADATA.tables.items():
        if name in ("calls", "call_legs"):
            continue
        told = set(_CODE.findall(section(database, name)))
        assert {column.name for column in table.columns} <= told, name


def _columns_in(database: str) -> set[str]:
    return {column.name for table in METADATA.tables.values() for column in table.columns} - set(METADATA.tables)


def test_every_view_has_its_row_and_every_row_its_view() -> None:
    told = {word for word in rows(section(page("database.md"), "Views")) if word.startswith("v_")}
    assert told == set(VIEWS)


def commands() -> dict[str, Any]:
    """Every command of the program by its whole name, e.g. `suspense list`."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", command)]
    while waiting:
        name, one = waiting.pop()
        if name and getattr(one, "invoke_without_command", False):
            found[name] = one
        if hasattr(one, "commands"):
            waiting += [(f"{name} {child}".strip(), each) for child, each in one.commands.items()]
        else:
            found[name] = one
    return found


def test_every_command_has_its_heading_and_every_heading_its_command() -> None:
    told = {
        heading.removeprefix("cdrhub ")
        for heading in _HEADING.findall(page("commands.md"))
        if heading.startswith("cdrhub ")
    }
    assert told == set(commands())


def examples() -> list[str]:
    """Every example of the help of every command, as a line of its own."""
    epilogs = [command.epilog for command in commands().values() if command.epilog]
    return [line.strip() for epilog in epilogs for line in epilog.splitlines()[1:]]


def test_every_example_of_the_help_is_one_line_of_a_terminal() -> None:
    assert len(examples()) > len(commands())
    assert [line for line in examples() if len(line) > HELP_COLUMNS] == []


def spoken_commands() -> list[tuple[str, str]]:
    """Every `cdrhub …` in a console block, with the page it stands on."""
    found = []
    for language in ("console", "sh", "bash"):
        for path, block in fenced(language):
            for line in block.splitlines():
                for part in line.removeprefix("$ ").split("#")[0].split("|"):
                    words = part.replace("&&", ";").split(";")
                    found += [
                        (path.relative_to(ROOT).as_posix(), word.strip())
                        for word in words
                        if word.strip().startswith("cdrhub ") and "…" not in word
                    ]
    return found


@pytest.mark.parametrize(("where", "line"), spoken_commands(), ids=lambda said: str(said)[:60])
def test_every_command_line_in_the_pages_parses(where: str, line: str) -> None:
    """With the program's own parser: the command, its options and their values; nothing is run."""
    words = shlex.split(line.split(">", maxsplit=1)[0])[1:]
    there = commands()
    name = next((name for name in (" ".join(words[:2]), words[0]) if name in there), None)
    assert name is not None, f"{where}: {line}: there is no such command"
    there[name].make_context(name, words[len(name.split()) :])


def toml_examples() -> list[tuple[str, str]]:
    return [(path.relative_to(ROOT).as_posix(), block) for path, block in fenced("toml")]


@pytest.mark.parametrize(("where", "text"), toml_examples(), ids=lambda said: str(said)[:40])
def test_every_toml_example_is_a_valid_configuration(where: str, text: str, tmp_path: Path) -> None:
    if "entry-points" in text:
        assert tomllib.loads(text)["project"]["entry-points"]["cdrhub.sources"]
        return
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "0123456789abcdef0123")
    config = parse(text, path=tmp_path / "config.toml", environ=environ)
    assert set(config.sources) == set(tomllib.loads(text).get("sources", {}))


def test_the_configuration_of_the_compose_file_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "config.compose.toml").read_text("utf-8")
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123")
    config = parse(re.sub(r"/run/secrets/\w+", str(secret), text), path=tmp_path / "config.toml", environ={})
    assert config.sources


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_row_of_bad_input_names_a_test_that_exists() -> None:
    text = page("bad-input.md")
    told = re.findall(r"^\| ([A-Z]\d+) \|.*\| `(.+?)::(\w+)` \|$", text, re.MULTILINE)
    ids = [row for row, _, _ in told]
    assert len(ids) == len(set(ids)) == len(re.findall(r"^\| [A-Z]\d+ \|", text, re.MULTILINE))
    for row, file, function in told:
        path = ROOT / "tests" / file
        assert path.is_file(), f"{row}: there is no {file}"
        assert f"def {function}(" in path.read_text("utf-8"), f"{row}: {file} has no {function}"


def test_nothing_is_linked_from_nowhere() -> None:
    linked = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in PAGES
        for link in _LINK.findall(path.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:|#", link)
    }
    assert {path for path in DOCS.rglob("*.md") if path != DOCS / "index.md"} <= linked
