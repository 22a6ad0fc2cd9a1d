"""The terminal and the disk that a command meets: what is wrong with them is no bug of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest


def cdrhub(*arguments: str, output: int | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """The program's run; its output goes to the descriptor `output`, or nowhere."""
    return subprocess.run(
        [sys.executable, "-m", "cdrhub", *arguments],
        stdout=subprocess.DEVNULL if output is None else output,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **environ},
    )


def test_an_argument_that_is_no_text_is_misuse() -> None:
    done = cdrhub("simulate", "3cx", "--to", "caf\udce9:5555", "--count", "1")
    assert (done.returncode, done.stderr) == (64, "cdrhub: an argument is not text in UTF-8\n")


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-5"])
def test_an_output_that_lacks_characters_names_what_to_set(encoding: str) -> None:
    done = cdrhub("config", "schema", PYTHONIOENCODING=encoding)
    said = f"cdrhub: the output is in {encoding}, which lacks characters of it: set PYTHONIOENCODING=utf-8\n"
    assert (done.returncode, done.stderr) == (64, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_no_bug() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = cdrhub("config", "schema", output=full)
    finally:
        os.close(full)
    assert (done.returncode, done.stderr) == (69, "cdrhub: the output cannot be written: No space left on device\n")


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_is_said(tmp_path: Path) -> None:
    configuration = tmp_path / "config.toml"
    os.mkfifo(configuration)
    with subprocess.Popen(
        [sys.executable, "-m", "cdrhub", "check", "--config", str(configuration)], stderr=subprocess.PIPE, text=True
    ) as command:
        with configuration.open("w"):  # it is about to read; a signal that comes just before that is seen afterwards
            for _ in range(3):
                command.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    command.wait(timeout=30)
                    break
            command.kill()
        _, said = command.communicate()
    assert (command.returncode, said) == (130, "cdrhub: interrupted\n")


def test_the_help_of_a_flag_asks_for_no_value() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cdrhub", "check", "--help"], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    assert "--online" in done.stdout
    assert "bool" not in done.stdout
