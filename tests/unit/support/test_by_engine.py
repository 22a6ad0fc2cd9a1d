"""A test that kills its process, or hangs in it, is one failure of a run that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import by_engine

TESTS = """
import os, time, pytest

def test_hangs():
    time.sleep(600)

@pytest.mark.parametrize("engine", ["sqlite", "mariadb"])
@pytest.mark.parametrize("place", range(3))
def test_of(engine, place):
    if (engine, place) == ("sqlite", 1):
        os._exit(1)
"""


def test_what_a_process_had_to_run_when_it_died_is_run_by_another(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ("-n", "2", "-o", "faulthandler_timeout=1", "-o", "faulthandler_exit_on_timeout=true")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "support.by_engine", "--rootdir", tmp_path, *options, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(by_engine.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "2 failed, 5 passed" in done.stdout, done.stdout + done.stderr
