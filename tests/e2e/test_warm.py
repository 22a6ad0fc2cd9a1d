"""A process that is forked is like one that is started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import warm
from support.daemon import Daemon

ENVIRON = {"PATH": os.environ["PATH"], "COLUMNS": "200"}


def test_it_has_streams_a_folder_and_an_environment_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[hub]\nlog_level = "${LEVEL}"\n')
    for level, status in (("info", 0), ("loud", 78)):
        done = warm.run(
            ["check", "--config", "c.toml"], stdin=b"", cwd=tmp_path, environ={**ENVIRON, "LEVEL": level}, timeout=60
        )
        assert (done.returncode, b"hub.log_level" in done.stderr) == (status, status != 0)


def test_it_is_signalled_and_waited_for(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources="")
    daemon.start()
    process = daemon.process
    assert isinstance(process, warm.Process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    process.kill()
    assert (process.wait(60), process.poll(), process.wait()) == (-9, -9, -9)
    process.terminate()  # nobody
    daemon.start()
    assert daemon.stop() == 0
