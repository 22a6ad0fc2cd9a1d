"""The real process as a service manager sees it: signals, a database that goes away, refusals to start."""

from __future__ import annotations

import gzip
import os
import socket
import stat
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from support.daemon import Daemon
from support.plug_ins import install
from support.servers import PostgresServer, free_port, running
from support.service import LINE, calls, source, started, wait_for_log


def test_sigterm_brings_what_was_taken_into_the_database_and_exits_0(tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "hub.db"
    daemon = Daemon(tmp_path, database=f"sqlite:///{database}", sources=source(port))
    with started(daemon, fresh=True), socket.create_connection(("127.0.0.1", port)) as pbx:
        pbx.sendall(b"".join(LINE % (n, n) for n in range(2_000)))
        daemon.wait_for("cdrhub_records_received_total", 2_000)
        assert daemon.stop() == 0
    assert calls(database) == 2_000


def test_who_waits_for_the_line_that_it_started_is_let_in(tmp_path: Path) -> None:
    path = "/ingest/voicenter/0123456789abcdef"
    pushed = f'[sources.account]\ntype = "voicenter"\npath = "{path}"\n'
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=pushed)
    daemon.start(ready=False)
    try:
        wait_for_log(daemon, '"action": "started"', look_seconds=0.001)
        said = asked(
            daemon, b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % path.encode()
        )
        assert said.startswith(b"HTTP/1.1 200 ")
    finally:
        daemon.kill()


def test_a_clock_that_is_steadily_wrong_is_named(tmp_path: Path) -> None:
    port = free_port()
    with started(Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=source(port))) as daemon:
        ended = datetime.now(UTC) - timedelta(hours=2)
        times = [f"{ended - timedelta(seconds=s):%Y/%m/%d %H:%M:%S}" for s in (20, 15, 0)]
        with socket.create_connection(("127.0.0.1", port)) as pbx:
            for number in range(30):
                pbx.sendall(
                    f"Call {number},x{number},00:00:15,{','.join(times)},TerminatedByDst,Ext.114,0266904995,114,10001,"
                    f"0266904995,,,,,,,,Chain: Ext.114;0266904995;\r\n".encode()
                )
        daemon.wait_for("cdrhub_records_stored_total", 30, result="applied")
        wait_for_log(daemon, "clock_suspect")
        assert "source pbx: its clock is 2 h behind" in daemon.get("/readyz")
        assert daemon.stop() == 0


def test_the_database_stops_and_starts_and_nobody_notices(tmp_path: Path) -> None:
    port = free_port()
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        with started(Daemon(tmp_path, database=server.url("hub"), sources=source(port))) as daemon:
            with socket.create_connection(("127.0.0.1", port)) as pbx:
                pbx.sendall(b"".join(LINE % (n, n) for n in range(500)))
                daemon.wait_for("cdrhub_records_stored_total", 500, result="applied")
                server.stop()
                pbx.sendall(b"".join(LINE % (n, n) for n in range(400, 1_500)))
                daemon.wait_for("cdrhub_records_acknowledged_total", 1_600)
                daemon.wait_for("cdrhub_database_retries_total", 1)
                assert "the database is away" in daemon.get("/readyz")
                server.start()
                daemon.drained()
                assert "the database is away" not in daemon.get("/readyz")
            assert daemon.metric("cdrhub_records_stored_total", result="applied") == 1_500
            assert daemon.metric("cdrhub_records_stored_total", result="duplicate") == 100
            assert daemon.stop() == 0
        with psycopg.connect(server.url("hub")) as connection:
            assert connection.execute("SELECT count(*) FROM calls").fetchone() == (1_500,)


def test_it_starts_while_the_database_is_away(tmp_path: Path) -> None:
    port = free_port()
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        server.stop()
        with started(Daemon(tmp_path, database=server.url("hub"), sources=source(port))) as daemon:
            with socket.create_connection(("127.0.0.1", port)) as pbx:
                pbx.sendall(LINE % (1, 1))
                daemon.wait_for("cdrhub_records_acknowledged_total", 1)
            assert "the database is away" in daemon.get("/readyz")
            server.start()
            daemon.wait_for("cdrhub_records_stored_total", 1, result="applied")
            assert daemon.stop() == 0
        log = daemon.log.read_text()
        assert log.count('"action": "database_away"') == log.count('"action": "database_back"') >= 1


def test_it_takes_records_while_the_database_holds_up_its_start(tmp_path: Path) -> None:
    port = free_port()
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        daemon = Daemon(tmp_path, database=server.url("hub"), sources=source(port))
        with started(daemon):
            daemon.wait_for("cdrhub_database_up", 1)
            assert daemon.stop() == 0
        with psycopg.connect(server.url("hub")) as other:
            other.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
            with started(daemon):
                with socket.create_connection(("127.0.0.1", port)) as pbx:
                    pbx.sendall(LINE % (1, 1))
                    daemon.wait_for("cdrhub_records_acknowledged_total", 1)
                assert daemon.metric("cdrhub_database_up") == 0
                assert "the database is away" in daemon.get("/readyz")
                other.rollback()
                daemon.wait_for("cdrhub_records_stored_total", 1, result="applied")
                assert daemon.stop() == 0


def test_records_wait_in_the_journal_over_a_stop_without_the_database(tmp_path: Path) -> None:
    port = free_port()
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        daemon = Daemon(tmp_path, database=server.url("hub"), sources=source(port))
        daemon.config.write_text(daemon.config.read_text().replace("[hub]", "[hub]\nshutdown_seconds = 1"))
        with started(daemon):
            server.stop()
            with socket.create_connection(("127.0.0.1", port)) as pbx:
                pbx.sendall(LINE % (1, 1))
                daemon.wait_for("cdrhub_records_acknowledged_total", 1)
            assert daemon.stop() == 0
        server.start()
        with started(daemon):
            daemon.wait_for("cdrhub_records_stored_total", 1, result="applied")
            assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ('listen = "0.0.0.0:8080"', "http.tokens"),
        ('tls_certificate = "missing.pem"\ntls_key = "missing.key"', "tls_certificate"),
    ],
)
def test_it_refuses_an_unsafe_start_with_a_sentence(tmp_path: Path, extra: str, said: str) -> None:
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources="")
    text = daemon.config.read_text()
    if extra.startswith("listen"):
        text = text.replace(f'listen = "127.0.0.1:{daemon.http_port}"', extra)
    else:
        text = text.replace("[http]", f"[http]\n{extra}")
    daemon.config.write_text(text)
    daemon.start(ready=False)
    assert daemon.process is not None
    assert daemon.process.wait(30) == 78
    log = daemon.log.read_text()
    assert said in log
    assert "Traceback" not in log


def test_a_second_daemon_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with started(Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources="")):
        second = Daemon(tmp_path / "second", database=f"sqlite:///{tmp_path / 'hub.db'}", sources="")
        second.config.write_text(
            second.config.read_text().replace(str(tmp_path / "second" / "data"), str(tmp_path / "data"))
        )
        second.start(ready=False)
        assert second.process is not None
        assert second.process.wait(30) == 75
        assert "another process" in second.log.read_text()


def test_pages_need_a_token_once_one_is_configured(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    extra = f'[[http.tokens]]\nname = "bi"\ntoken = "{token}"\nrole = "read"\n'
    with started(Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources="", extra=extra)) as daemon:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            daemon.get("/metrics")
        asked = urllib.request.Request(
            f"http://127.0.0.1:{daemon.http_port}/metrics", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked, timeout=5) as answer:
            assert b"cdrhub_journal_records" in answer.read()
        assert token not in daemon.log.read_text()


SECRET, TOKEN, NUMBER = "s3cret-part-of-the-path", "a-token-of-somebody-0123", "0501234567"


def asked(daemon: Daemon, *pieces: bytes, reset: bool = False) -> bytes:
    """What the HTTP server says to these bytes; with `reset` nobody listens."""
    with socket.create_connection(("127.0.0.1", daemon.http_port), timeout=20) as peer:
        for piece in pieces:
            peer.sendall(piece)
            time.sleep(0.05)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        said = b""
        while chunk := peer.recv(65_536):
            said += chunk
        return said


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_log_line_quotes_a_request(tmp_path: Path, log_format: str) -> None:
    database = tmp_path / "hub.db"
    path = f"/ingest/voicenter/{SECRET}"
    account = f'[sources.account]\ntype = "voicenter"\npath = "{path}"\n'
    daemon = Daemon(tmp_path, database=f"sqlite:///{database}", sources=account)
    daemon.config.write_text(daemon.config.read_text().replace('"json"', f'"{log_format}"'))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    body = b'{"caller":"%s"' % NUMBER.encode()
    length = b"Content-Length: 100\r\n\r\n"
    with started(daemon):
        asked(daemon, head + length, body, reset=True)
        gzipped = asked(daemon, head + b"Connection: close\r\nContent-Encoding: gzip\r\n" + length + body.ljust(100))
        assert (gzipped[:12], b'"err":1' in gzipped) == (b"HTTP/1.1 200", True)
        brotli = asked(daemon, head + b"Connection: close\r\nContent-Encoding: br\r\n" + length + body.ljust(100))
        assert (brotli[:12], b'"err":1' in brotli) == (b"HTTP/1.1 200", True)
        packed = gzip.compress(b'{"ivruniqueid":"1","caller":"%s"}' % NUMBER.encode())
        length_of_packed = b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        assert b'"err":0' in asked(daemon, head + length_of_packed, packed)
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ%s\r\n" % NUMBER.encode()
        assert asked(daemon, chunked)[9:12] == b"400"
        assert asked(daemon, head + b"X-Number: " + NUMBER.encode() * 2_000 + b"\r\n\r\n")[9:12] == b"400"
        assert asked(daemon, head.replace(b" HTTP", NUMBER.encode() * 2_000 + b" HTTP") + b"\r\n")[9:12] == b"400"
        daemon.wait_for("cdrhub_source_events_total", 1, source="account", what="connection_lost")
        daemon.wait_for("cdrhub_source_events_total", 2, source="account", what="body_damaged")
        daemon.wait_for("cdrhub_records_stored_total", 1, source="account", result="suspended")
        assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert "library_error" in log
    assert "LineTooLong" in log
    for quoted in (SECRET, TOKEN, NUMBER, "hello", "Traceback"):
        assert quoted not in log
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_check_and_run_refuse_a_key_that_cannot_be_used_before_they_start(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources="")
    for name in ("site.pem", "site.key"):
        (tmp_path / name).write_text("no PEM\n")
    tls = 'tls_certificate = "site.pem"\ntls_key = "site.key"'
    daemon.config.write_text(daemon.config.read_text().replace("[http]", f"[http]\n{tls}"))
    for command in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "cdrhub", command, "--config", str(daemon.config)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 78
        assert "http.tls_certificate" in done.stderr
    assert not (tmp_path / "data").exists()


NEVER_ENDS = """
import asyncio
from typing import Literal

from cdrhub.sources.threecx import SYSTEM as THREECX

class Config(THREECX.config_model):
    type: Literal["acme"] = "acme"

class Source:
    async def session(self, intake):
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

class Acme(type(THREECX)):
    name = "acme"
    config_model = Config

    def source(self, config):
        return Source()

SYSTEM = Acme()
"""


def with_a_session_that_never_ends(folder: Path) -> tuple[Daemon, Mapping[str, str]]:
    """A daemon, and the environment in which it finds its source."""
    install(folder, NEVER_ENDS)
    sources = source(free_port()).replace("3cx", "acme")
    daemon = Daemon(folder / "hub", database=f"sqlite:///{folder / 'hub.db'}", sources=sources)
    return daemon, {"PYTHONPATH": os.pathsep.join((*sys.path, str(folder)))}


def test_a_session_that_cannot_be_ended_does_not_keep_the_daemon(tmp_path: Path) -> None:
    daemon, environment = with_a_session_that_never_ends(tmp_path)
    daemon.start(environment=environment, fresh=True)
    try:
        assert daemon.stop() == 0
        assert '"left_behind"' in daemon.log.read_text()
    finally:
        daemon.kill()


def test_nor_does_it_hide_why_the_daemon_ended(tmp_path: Path) -> None:
    """It was an internal error of which nothing was said."""
    daemon, environment = with_a_session_that_never_ends(tmp_path)
    with socket.create_server(("127.0.0.1", daemon.http_port)):
        daemon.start(environment=environment, fresh=True, ready=False)
        try:
            assert daemon.process is not None
            assert daemon.process.wait(60.0) == 69
        finally:
            daemon.kill()
    said = daemon.log.read_text()
    assert '"left_behind"' in said
    assert said.splitlines()[-1].startswith("cdrhub: http.listen: ")
