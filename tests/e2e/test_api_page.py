"""docs/api.md against the real daemon: every command of the page runs, and answers what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdrhub.web.api.problems import Kind
from cdrhub.web.api.routes import OPERATIONS
from support.daemon import Daemon
from support.servers import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
TOKEN = "0123456789abcdef0123"
ANYTHING = "…"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| `([^`]+)` \| (\w+) \| (.+?) \|$", re.MULTILINE)


def shown() -> Iterator[tuple[str, Any]]:
    """Each command of the page with the answer below it."""
    for block in _BLOCK.findall(PAGE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, answer = re.split(r"(?<!\\)\n(?=\{)", part, maxsplit=1)
            yield command, orjson.loads(answer)


def assert_shows(answer: Any, expected: Any, where: str) -> None:
    """The page shows a part of an answer: names may be missing, `…` is anything."""
    if expected == ANYTHING:
        return
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_shows(answer[name], value, f"{where}/{name}")
    elif isinstance(expected, list):
        assert len(answer) == len(expected), where
        for place, value in enumerate(expected):
            assert_shows(answer[place], value, f"{where}/{place}")
    else:
        assert answer == expected, where


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_every_command_of_the_page_answers_what_it_shows(tmp_path: Path) -> None:
    tables = _TOML.findall(PAGE)[0].replace("127.0.0.1:5555", f"127.0.0.1:{free_port()}")
    daemon = Daemon(tmp_path / "hub", database=f"sqlite:///{tmp_path / 'cdrhub.db'}", sources=tables)
    environment = {**os.environ, "CRM_TOKEN": TOKEN, "HUB": f"http://127.0.0.1:{daemon.http_port}/api/v1"}
    daemon.start(environment={"CRM_TOKEN": TOKEN})
    try:
        examples = list(shown())
        assert len(examples) >= 9
        for command, expected in examples:
            done = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", command], env=environment, capture_output=True, check=True
            )
            assert_shows(orjson.loads(done.stdout), expected, command)
    finally:
        assert daemon.stop() == 0


def test_the_page_has_every_operation_with_its_role() -> None:
    told = {(operation, role, does) for operation, role, does in _ROW.findall(PAGE) if operation[:1].isupper()}
    assert told == {(f"{one.method} {one.path}", str(one.role), one.summary) for one in OPERATIONS}


def test_the_page_has_every_problem_with_its_status() -> None:
    told = {(word, int(status), says) for word, status, says in _ROW.findall(PAGE) if status.isdigit()}
    assert told == {(kind.word, kind.status, kind.title) for kind in Kind}
