"""The real process as a service manager sees it: signals, reload, a database that goes away, refusals to start."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import signal
import socket
import sqlite3
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from support.certificates import NEW, OLD
from support.daemon import Daemon
from support.descriptors import no_free_descriptor
from support.servers import PostgresServer, free_port, running

LINE = (
    b"Call %d,00000172FF10D141_%d,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    b"Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\r\n"
)


def source(port: int, name: str = "pbx", extra: str = "") -> str:
    return f'[sources.{name}]\ntype = "3cx"\nlisten = "127.0.0.1:{port}"\n{extra}\n'


@contextlib.contextmanager
def started(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


def calls(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM calls").fetchone()
        return int(count)


def test_sigterm_brings_what_was_taken_into_the_database_and_exits_0(tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "hub.db"
    daemon = Daemon(tmp_path, database=f"sqlite:///{database}", sources=source(port))
    with started(daemon), socket.create_connection(("127.0.0.1", port)) as pbx:
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


def test_sighup_takes_over_a_new_source_and_keeps_the_connection_of_an_old_one(tmp_path: Path) -> None:
    first, second, database = free_port(), free_port(), tmp_path / "hub.db"
    with started(Daemon(tmp_path, database=f"sqlite:///{database}", sources=source(first))) as daemon:
        with socket.create_connection(("127.0.0.1", first)) as old:
            old.sendall(LINE % (1, 1))
            daemon.wait_for("cdrhub_records_stored_total", 1, source="pbx", result="applied")
            with daemon.config.open("a") as config:
                config.write(source(second, "second"))
            daemon.signal(signal.SIGHUP)
            deadline = time.monotonic() + 20
            while True:
                try:
                    new = socket.create_connection(("127.0.0.1", second))
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            with new:
                new.sendall(LINE % (2, 2))
                old.sendall(LINE % (3, 3))
                daemon.wait_for("cdrhub_records_stored_total", 1, source="second", result="applied")
                daemon.wait_for("cdrhub_records_stored_total", 2, source="pbx", result="applied")
        assert daemon.stop() == 0
    assert calls(database) == 3


def test_a_changed_source_inherits_its_listening_socket(tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "hub.db"
    with started(Daemon(tmp_path, database=f"sqlite:///{database}", sources=source(port))) as daemon:
        daemon.config.write_text(daemon.config.read_text() + 'region = "FR"\n')
        daemon.signal(signal.SIGHUP)
        for number in range(40):
            with socket.create_connection(("127.0.0.1", port)) as pbx:
                pbx.sendall(LINE % (number, number))
            time.sleep(0.02)
        daemon.wait_for("cdrhub_records_stored_total", 40, result="applied")
        assert daemon.stop() == 0
    assert calls(database) == 40


def wait_for_log(daemon: Daemon, text: str, *, times: int = 1, look_seconds: float = 0.02) -> None:
    deadline = time.monotonic() + 20
    while daemon.log.read_text().count(text) < times:
        assert time.monotonic() < deadline, daemon.log.read_text()[-2000:]
        time.sleep(look_seconds)


def test_a_source_that_is_taken_out_closes_its_port_and_a_tenant_that_changes_counts_at_once(tmp_path: Path) -> None:
    first, second, database = free_port(), free_port(), tmp_path / "hub.db"
    daemon = Daemon(
        tmp_path, database=f"sqlite:///{database}", sources=source(first) + source(second, "second", 'tenant = "old"')
    )
    with started(daemon):
        for number, tenant in enumerate(("old", "new"), start=1):
            with socket.create_connection(("127.0.0.1", second)) as pbx:
                pbx.sendall(LINE % (number, number))
                daemon.wait_for("cdrhub_records_stored_total", number, source="second", result="applied")
            if tenant == "old":
                text = daemon.config.read_text().replace(source(first), "").replace("old", "new")
                daemon.config.write_text(text)
                daemon.signal(signal.SIGHUP)
                wait_for_log(daemon, '"reloaded"')
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", first))
        assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(database)) as stored:
        assert stored.execute("SELECT tenant FROM calls ORDER BY call_key").fetchall() == [("old",), ("new",)]


def test_a_reload_to_a_taken_port_is_refused_whole(tmp_path: Path) -> None:
    port = free_port()
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=source(port))
    with started(daemon), socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        daemon.config.write_text(daemon.config.read_text() + 'tenant = "changed"\n' + source(taken, "second"))
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, "reload_refused")
        assert f"sources.second.listen: cannot listen on 127.0.0.1:{taken}" in daemon.log.read_text()
        with socket.create_connection(("127.0.0.1", port)) as pbx:
            pbx.sendall(LINE % (1, 1))
            daemon.wait_for("cdrhub_records_stored_total", 1, result="applied")
        assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as stored:
        assert stored.execute("SELECT tenant FROM calls").fetchall() == [("",)]


def status_of(daemon: Daemon, token: str) -> int:
    """What /metrics answers to a token."""
    asked = urllib.request.Request(f"http://127.0.0.1:{daemon.http_port}/metrics")
    asked.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_token_is_exchanged_by_a_reload_and_nothing_else_of_http(tmp_path: Path) -> None:
    old, new = "old-token-0123456789", "new-token-0123456789"
    entry = '[[http.tokens]]\nname = "{}"\ntoken = "{}"\n'
    daemon = Daemon(
        tmp_path,
        database=f"sqlite:///{tmp_path / 'hub.db'}",
        sources=source(free_port()),
        extra=entry.format("bi", old),
    )
    with started(daemon):
        assert (status_of(daemon, old), status_of(daemon, new)) == (200, 401)
        first = daemon.config.read_text()
        daemon.config.write_text(first.replace(old, new))
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, "tokens_changed")
        assert (status_of(daemon, old), status_of(daemon, new)) == (401, 200)
        daemon.config.write_text(first.replace(f":{daemon.http_port}", f":{free_port()}"))
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, "reload_refused")
        assert "[http] cannot change while the daemon runs, but for [[http.tokens]]" in daemon.log.read_text()
        assert (status_of(daemon, old), status_of(daemon, new)) == (401, 200)
        for secret in (old, new):
            assert secret not in daemon.log.read_text()
        assert daemon.stop() == 0


def shown_certificate(daemon: Daemon) -> str:
    """What the HTTP server shows of itself, as soon as it serves."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ssl.get_server_certificate(("127.0.0.1", daemon.http_port), timeout=10)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_renewed_certificate_is_taken_over_by_a_reload_and_half_a_renewal_changes_nothing(tmp_path: Path) -> None:
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    certificate.write_text(OLD[0])
    key.write_text(OLD[1])
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=source(free_port()))
    tls = 'tls_certificate = "site.pem"\ntls_key = "site.key"'
    daemon.config.write_text(daemon.config.read_text().replace("[http]", f"[http]\n{tls}"))
    daemon.start(ready=False)
    try:
        assert shown_certificate(daemon) == OLD[0]
        certificate.write_text(NEW[0])  # its key is not there yet
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, "reload_refused")
        assert "http.tls_certificate and http.tls_key cannot be used" in daemon.log.read_text()
        assert shown_certificate(daemon) == OLD[0]
        key.write_text(NEW[1])
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, '"reloaded"')
        deadline = time.monotonic() + 60
        while (shown := shown_certificate(daemon)) != NEW[0]:
            assert shown == OLD[0]
            assert time.monotonic() < deadline
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_no_push_meets_a_closed_door_while_its_source_is_exchanged(tmp_path: Path) -> None:
    path = "/ingest/voicenter/0123456789abcdef-secret"
    vendor = f'[sources.vendor]\ntype = "voicenter"\npath = "{path}"\nregion = "IL"\n'
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=vendor)
    with started(daemon):
        statuses: list[int] = []
        over = threading.Event()

        def post() -> None:
            number = 0
            while not over.is_set():
                number += 1
                body = b'{"ivruniqueid":"k%d","type":"Incoming Call","status":"ANSWER","time":1790000000}' % number
                asked = urllib.request.Request(f"http://127.0.0.1:{daemon.http_port}{path}", data=body)
                try:
                    with urllib.request.urlopen(asked, timeout=10) as answer:
                        statuses.append(answer.status)
                except urllib.error.HTTPError as error:
                    statuses.append(error.code)

        poster = threading.Thread(target=post)
        poster.start()
        try:
            for number, region in enumerate(("FR", "DE", "IL", "NG"), start=1):
                text = re.sub('region = "[A-Z]+"', f'region = "{region}"', daemon.config.read_text())
                daemon.config.write_text(text)
                daemon.signal(signal.SIGHUP)
                wait_for_log(daemon, '"reloaded"', times=number)
        finally:
            over.set()
            poster.join()
        assert set(statuses) == {200}
        assert daemon.stop() == 0


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


def test_a_bad_file_changes_nothing_on_sighup(tmp_path: Path) -> None:
    port = free_port()
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=source(port))
    with started(daemon):
        daemon.config.write_text(daemon.config.read_text() + 'timezone = "Afrika/Lagos"\n')
        daemon.signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "reload_refused" not in daemon.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "Africa/Lagos" in daemon.log.read_text()
        with socket.create_connection(("127.0.0.1", port)) as pbx:
            pbx.sendall(LINE % (1, 1))
            daemon.wait_for("cdrhub_records_stored_total", 1, result="applied")
        assert daemon.stop() == 0


PLUG_IN = """
from typing import Literal

from cdrhub.sources.base import SourceConfig
from cdrhub.sources.threecx import SYSTEM as THREECX

class Settings(THREECX.config_model.settings_model):
    bug_in: str = ""

    def model_post_init(self, context):
        if self.bug_in == "model" or (self.bug_in == "settings" and not isinstance(self, SourceConfig)):
            raise RuntimeError(f"a bug in its {self.bug_in}")

class Config(Settings, THREECX.config_model):
    type: Literal["acme"] = "acme"
    settings_model = Settings

class Acme(type(THREECX)):
    name = "acme"
    config_model = Config

    def source(self, config):
        if config.bug_in == "source":
            raise RuntimeError("a bug in its source")
        return super().source(config)

SYSTEM = Acme()
"""


def test_a_reload_that_meets_a_bug_of_a_plug_in_changes_nothing(tmp_path: Path) -> None:
    registered = tmp_path / "acme-1.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (registered / "entry_points.txt").write_text("[cdrhub.sources]\nacme = acme:SYSTEM\n")
    (tmp_path / "acme.py").write_text(PLUG_IN)
    port, other, new = free_port(), free_port(), free_port()
    daemon = Daemon(
        tmp_path / "hub",
        database=f"sqlite:///{tmp_path / 'hub.db'}",
        sources=source(port) + source(other, "acme").replace("3cx", "acme"),
    )
    working = daemon.config.read_text()
    daemon.start(environment={"PYTHONPATH": os.pathsep.join((*sys.path, str(tmp_path)))})
    try:
        with socket.create_connection(("127.0.0.1", port)) as pbx:
            for place in ("model", "source", "settings"):
                daemon.config.write_text(f'{working}bug_in = "{place}"\n{source(new, "new")}')
                daemon.signal(signal.SIGHUP)
                wait_for_log(daemon, f"RuntimeError: a bug in its {place}")
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", new))
            socket.create_connection(("127.0.0.1", other)).close()
            pbx.sendall(LINE % (1, 1))  # on the connection from before
            daemon.wait_for("cdrhub_records_stored_total", 1, result="applied", source="pbx")
        assert daemon.log.read_text().count("reload_refused") == 3
        assert daemon.stop() == 0
    finally:
        daemon.kill()


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


def test_what_waits_of_a_source_that_a_reload_takes_out_is_filed_as_before(tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        with started(Daemon(tmp_path, database=server.url("hub"), sources="")) as daemon:
            bare = daemon.config.read_text()
            daemon.config.write_text(
                bare + source(other, "main") + 'tenant = "acme"\n' + source(port, "second") + 'into = "main"\n'
            )
            daemon.signal(signal.SIGHUP)
            wait_for_log(daemon, '"reloaded"')
            server.stop()
            with socket.create_connection(("127.0.0.1", port)) as pbx:
                pbx.sendall(LINE % (1, 1))
                daemon.wait_for("cdrhub_records_acknowledged_total", 1, source="second")
            daemon.config.write_text(bare)
            daemon.signal(signal.SIGHUP)
            wait_for_log(daemon, '"reloaded"', times=2)
            server.start()
            daemon.drained()
            assert daemon.stop() == 0
        with psycopg.connect(server.url("hub")) as connection:
            assert connection.execute("SELECT source, tenant FROM calls").fetchall() == [("main", "acme")]


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


def test_it_takes_records_while_the_database_holds_up_its_start(tmp_path: Path) -> None:
    port = free_port()
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        daemon = Daemon(tmp_path, database=server.url("hub"), sources=source(port))
        with started(daemon):
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


def test_a_reload_without_a_free_descriptor_is_refused_and_ends_nothing(tmp_path: Path) -> None:
    database = tmp_path / "hub.db"
    daemon = Daemon(tmp_path, database=f"sqlite:///{database}", sources=source(free_port()))
    with started(daemon):
        before = daemon.config.read_text()
        daemon.config.write_text(before + source(free_port(), "second"))
        with no_free_descriptor(daemon.pid):
            daemon.signal(signal.SIGHUP)
            wait_for_log(daemon, "reload_refused")
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, '"reloaded"')
        assert daemon.stop() == 0
