"""The example package of docs/adding-a-system.md does what the page says, outside the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "adding-a-system.md").read_text("utf-8")
CONFIG = """
[hub]
data_dir = "data"

[database]
url = "sqlite:///hub.db"

[sources.office]
type = "acme"
path = "/ingest/acme/0123456789abcdef"
region = "NG"
"""
CALLS = (
    '{"id": "1", "started": 1773050400, "from": "0803 910 0001", "end": "talked"}\n'
    '{"started": 1773050400}\n'
    '{"id": "2", "started": 1773050401, "from": "0803 910 0002", "end": "vanished"}\n'
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder in which the page's example is installed."""
    module, test = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (entry_point,) = re.findall(r'^acme = "(.+)"$', PAGE, re.MULTILINE)
    (tmp_path / "acme_cdrhub.py").write_text(module)
    (tmp_path / "test_acme.py").write_text(test)
    registered = tmp_path / "acme_cdrhub-1.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-cdrhub\nVersion: 1.0\n")
    (registered / "entry_points.txt").write_text(f"[cdrhub.sources]\nacme = {entry_point}\n")
    return tmp_path


def run(package: Path, *words: str) -> str:
    """What a command says, which must end well."""
    path = os.pathsep.join([str(package), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=package,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_passes_the_contract_suite_as_the_page_runs_it(package: Path) -> None:
    (command,) = re.findall(r"^\$ PYTHONPATH=cdrhub/tests python -m (pytest .+)$", PAGE, re.MULTILINE)
    said = run(package, *command.split(), "-p", "no:cacheprovider")
    assert re.search(r"^\W*1[0-9] passed", said, re.MULTILINE), said


def test_its_calls_are_imported_and_shown(package: Path) -> None:
    (package / "config.toml").write_text(CONFIG)
    (package / "calls.jsonl").write_text(CALLS)
    run(package, "cdrhub", "check")
    run(package, "cdrhub", "import", "office", "calls.jsonl")
    calls = run(package, "cdrhub", "calls", "--format", "csv")
    assert "+2348039100001" in calls
    assert "unmapped_word" in run(package, "cdrhub", "calls", "--format", "json")
    assert "it has no id" in run(package, "cdrhub", "suspense", "list")
