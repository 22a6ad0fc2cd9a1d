"""What tests of the command line begin with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdrhub.cli.app import command
from cdrhub.cli.failure import exit_code_of
from support.commands import LINES, SOURCE, Inside, Rows, cdrhub


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The same program in this process, for tables of many short runs."""

    def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        for name in ("EDITOR", "VISUAL", "CDRHUB_CONFIG", "CDRHUB_DEBUG"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("USER", "tester")
        monkeypatch.setenv("COLUMNS", "200")
        code = exit_code_of(lambda: command(arguments, prog_name="cdrhub", standalone_mode=False))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that a test starts hear SIGINT, also where the tests run in the background of a shell, which ignores
    it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration of one 3CX source on SQLite."""
    (tmp_path / "config.toml").write_text(SOURCE)
    return tmp_path


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


@pytest.fixture
def rows(inside: Inside) -> Rows:
    """What a listing says in NDJSON."""

    def rows(*arguments: str, folder: Path) -> list[dict[str, Any]]:
        done = inside(*arguments, "--format", "ndjson", folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return rows
