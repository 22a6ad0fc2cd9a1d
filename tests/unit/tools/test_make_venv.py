"""tools/make_venv.py: which wheel of pip is taken from an index, and where the index is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "make_venv.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HTML = b"""<!DOCTYPE html><html><body>
<a href="pip-26.0.tar.gz#sha256=aa">pip-26.0.tar.gz</a>
<a href="../../files/pip-25.1-py3-none-any.whl#sha256=bb" data-requires-python="&gt;=3.8">pip-25.1-py3-none-any.whl</a>
<a href="https://files.example/pip-26.0-py3-none-any.whl#sha256=cc" data-requires-python="&gt;=3.9">26.0</a>
<a href="pip-27.0-py3-none-any.whl#sha256=dd" data-requires-python="&gt;=3.15">27.0</a>
<a href="pip-26.1-py3-none-any.whl#sha256=ee" data-yanked="bad">26.1</a>
<a href="pip-26.2b1-py3-none-any.whl#sha256=ff">26.2b1</a>
<a href="pip-26.3-py3-none-any.whl">no digest</a>
</body></html>"""


def test_the_newest_released_wheel_that_this_python_may_use(tool: ModuleType) -> None:
    page = tool.Fetched(url="https://index.example/simple/pip/", content_type="text/html", body=HTML)
    found = sorted(tool.wheels(page, python=(3, 11)))
    assert [wheel.version for wheel in found] == [(25, 1), (26, 0)]
    assert found[0].url == "https://index.example/files/pip-25.1-py3-none-any.whl"
    assert (found[1].url, found[1].sha256) == ("https://files.example/pip-26.0-py3-none-any.whl", "cc")


def test_an_index_that_speaks_json(tool: ModuleType) -> None:
    files = [
        {"url": "pip-26.0-py3-none-any.whl", "hashes": {"sha256": "cc"}, "requires-python": ">=3.9", "yanked": False},
        {"url": "pip-26.1-py3-none-any.whl", "hashes": {"sha256": "ee"}, "requires-python": None, "yanked": "bad"},
        {"url": "pip-26.3-py3-none-any.whl", "hashes": {}},
    ]
    page = tool.Fetched(
        url="https://index.example/simple/pip/",
        content_type="application/vnd.pypi.simple.v1+json",
        body=json.dumps({"files": files}).encode(),
    )
    assert [wheel.version for wheel in tool.wheels(page, python=(3, 11))] == [(26, 0)]


def test_the_index_is_the_one_that_pip_would_use(tool: ModuleType, tmp_path: Path) -> None:
    config = tmp_path / "pip" / "pip.conf"
    config.parent.mkdir()
    config.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    assert tool.pip_setting("index-url", environ) == "https://mirror.example/simple"
    environ["PIP_INDEX_URL"] = "https://other.example/simple"
    assert tool.pip_setting("index-url", environ) == "https://other.example/simple"


def test_a_complete_environment_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    made = subprocess.run([sys.executable, SCRIPT, folder], check=True, capture_output=True, text=True)
    assert "made" in made.stdout
    again = subprocess.run([sys.executable, SCRIPT, folder], check=True, capture_output=True, text=True)
    assert again.stdout == ""
    assert (folder / "bin" / "pip").is_file()
