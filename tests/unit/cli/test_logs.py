"""What a log line may say of an error: its kind and its place, not what it quotes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cdrhub.cli.logs import configure
from cdrhub.config import HubConfig

NUMBER = "0501234567"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    names = (None, "aiohttp", "asyncio", "alembic", "sqlalchemy")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    configured = structlog.get_config()
    yield
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)
    structlog.configure(**configured)


def fail() -> None:
    local = f"local {NUMBER}"
    raise ValueError(local)


def fail_twice() -> None:
    try:
        fail()
    except ValueError as error:
        raise ExceptionGroup(NUMBER, [error]) from error


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_error_of_ours_is_shown_without_values(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure(HubConfig.model_validate({"log_format": log_format}))
    try:
        fail_twice()
    except ExceptionGroup:
        structlog.get_logger("test").exception("a part failed", action="part_failed")
    said = capsys.readouterr().err
    assert all(word in said for word in ("part_failed", "ValueError", "fail_twice", "test_logs.py"))
    assert NUMBER not in said


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_debug_shows_what_it_says_and_no_variables(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure(HubConfig.model_validate({"log_format": log_format, "log_level": "debug"}))
    try:
        fail()
    except ValueError:
        structlog.get_logger("test").exception("a part failed", action="part_failed")
    said = capsys.readouterr().err
    assert f"local {NUMBER}" in said
    assert "locals" not in said


@pytest.mark.parametrize("log_level", ["debug", "info"])
async def test_the_event_loop_and_the_http_server_quote_nothing(
    log_level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(HubConfig.model_validate({"log_format": "json", "log_level": log_level}))
    loop = asyncio.get_running_loop()
    try:
        fail()
    except ValueError as error:
        loop.default_exception_handler({"message": f"Exception in callback {NUMBER}()", "exception": error})
        logging.getLogger("aiohttp.server").error("Error handling request from %s: %s", NUMBER, error, exc_info=error)
    logging.getLogger("aiohttp.access").warning(NUMBER)
    said = capsys.readouterr().err
    assert said.count("library_error") == 3
    assert said.count('"error":"ValueError"') + said.count('"error": "ValueError"') == 2
    assert " fail" in said
    assert NUMBER not in said


def test_the_same_error_of_a_library_fills_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure(HubConfig.model_validate({"log_format": "json"}))
    server = logging.getLogger("aiohttp.server")
    try:
        fail()
    except ValueError as error:
        for _ in range(100):
            server.error("Error handling request from %s", "192.0.2.7", exc_info=error)
    server.error("Error handling request from %s", "192.0.2.7", exc_info=TypeError())
    said = capsys.readouterr().err
    assert (said.count("ValueError"), said.count("TypeError")) == (1, 1)


def test_connections_that_broke_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """At each restart of a MariaDB there was a traceback for each of them, without an action to filter by."""
    configure(HubConfig.model_validate({"log_format": "json"}))
    pool = logging.getLogger("sqlalchemy.pool.impl.AsyncAdaptedQueuePool")
    try:
        fail()
    except ValueError as error:
        for _ in range(4):
            pool.error("Exception during reset or similar", exc_info=error)
    (said,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (said["action"], said["library"], said["error"]) == ("library_error", pool.name, "ValueError")
    assert "exception" not in said


def test_what_a_phone_system_names_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure(HubConfig())
    name = "cdr-\x1b]8;;http://example.com\x07\x9b31m\u202e.log"
    structlog.get_logger("test").warning("files cannot be read", first=name, folder=f"a\n{name}")
    logging.getLogger("test").warning("a library says %s", f"\n{name}")
    said = capsys.readouterr().err
    assert said.count("http://example.com") == 3
    assert len(said.splitlines()) == 2
    assert said.replace("\n", "").isprintable()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_the_journal_hears_how_grave_each_line_is(
    log_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "elsewhere").open("w") as elsewhere:
        there = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        for stream in (journal, elsewhere):
            monkeypatch.setattr(sys, "stderr", stream)
            configure(HubConfig.model_validate({"log_format": log_format, "log_level": "debug"}))
            for level in ("debug", "info", "warning", "error", "critical"):
                getattr(structlog.get_logger(), level)(level)
            try:
                raise ValueError("said")
            except ValueError:
                structlog.get_logger().exception("it failed")

    heard = [line[:3] for line in (tmp_path / "journal").read_text().splitlines()]
    assert heard[:5] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert set(heard[5:]) == {"<3>"}
    assert "<3>" not in (tmp_path / "elsewhere").read_text()
