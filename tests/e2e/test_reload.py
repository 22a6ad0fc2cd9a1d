"""SIGHUP to the real process: another configuration is taken over whole, or not at all."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest

from support.certificates import NEW, OLD
from support.daemon import Daemon
from support.descriptors import no_free_descriptor
from support.plug_ins import install
from support.servers import PostgresServer, free_port, running
from support.service import LINE, calls, source, started, wait_for_log
from support.sql import rows

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


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
    assert rows(f"sqlite:///{database}", "SELECT tenant FROM calls ORDER BY call_key") == [("old",), ("new",)]


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
    assert rows(f"sqlite:///{tmp_path / 'hub.db'}", "SELECT tenant FROM calls") == [("",)]


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


def test_a_reload_names_the_tables_that_changed_where_no_source_did(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=source(free_port()))
    with started(daemon):
        before = daemon.config.read_text()
        webhook = f'[[broadcast.webhooks]]\nname = "crm"\nurl = "https://crm.example.com/events"\nsecret = "{SECRET}"\n'
        daemon.config.write_text(f'{before}\n[redial]\nmode = "observe"\n\n{webhook}')
        daemon.signal(signal.SIGHUP)
        wait_for_log(daemon, '"tables": ["redial", "broadcast"]')
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

    @property
    def hours_zone(self):
        if self.bug_in == "zone":
            raise RuntimeError("a bug in its zone")
        return super().hours_zone

    def cautions(self):
        if self.bug_in == "cautions":
            raise RuntimeError("a bug in its cautions")
        return super().cautions()

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
    install(tmp_path, PLUG_IN)
    port, other, new = free_port(), free_port(), free_port()
    daemon = Daemon(
        tmp_path / "hub",
        database=f"sqlite:///{tmp_path / 'hub.db'}",
        sources=source(port) + source(other, "acme").replace("3cx", "acme"),
    )
    working = daemon.config.read_text()
    daemon.start(environment={"PYTHONPATH": os.pathsep.join((*sys.path, str(tmp_path)))}, fresh=True)
    try:
        with socket.create_connection(("127.0.0.1", port)) as pbx:
            for place in ("model", "source", "settings", "zone", "cautions"):
                daemon.config.write_text(f'{working}bug_in = "{place}"\n{source(new, "new")}')
                daemon.signal(signal.SIGHUP)
                wait_for_log(daemon, f"RuntimeError: a bug in its {place}")
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", new))
            socket.create_connection(("127.0.0.1", other)).close()
            pbx.sendall(LINE % (1, 1))  # on the connection from before
            daemon.wait_for("cdrhub_records_stored_total", 1, result="applied", source="pbx")
        assert daemon.log.read_text().count("reload_refused") == 5
        assert daemon.stop() == 0
    finally:
        daemon.kill()


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


def test_systemd_shows_that_a_reload_was_refused_until_one_is_not(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, database=f"sqlite:///{tmp_path / 'hub.db'}", sources=source(free_port()))
    good = daemon.config.read_text()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)

        def status_after(*words: str) -> str:
            heard = ""
            for word in words:
                while not heard.startswith(word):
                    heard = manager.recv(1024).decode()
            return heard.partition("STATUS=")[2]

        daemon.start(environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
        try:
            statuses = [status_after("READY=1")]
            daemon.config.write_text(good.replace("[hub]", "[hub]\nshutdown_seconds = 7"))
            daemon.signal(signal.SIGHUP)
            statuses += [status_after("RELOADING=1", "READY=1"), status_after("WATCHDOG=1")]
            daemon.config.write_text(good)
            daemon.signal(signal.SIGHUP)
            statuses += [status_after("RELOADING=1", "READY=1")]
        finally:
            daemon.kill()

    caution = "; the last reload was refused, the log says why"
    assert [status.endswith(caution) for status in statuses] == [False, True, True, False]
