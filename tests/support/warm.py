"""Processes of the program that begin with its imports done.

Nine tenths of what it takes to start `cdrhub` are imports, a second of processor time and more, and the tests start
hundreds of processes. So one process imports everything and then forks whenever one is asked for. Each is a process
like any other, with an id, standard streams, a working directory and an environment of its own; it runs
`python -m cdrhub` from there on, and ends as every interpreter does. Warnings are errors in all of them.

The one that forks has one thread and makes nothing but copies of itself. It ends when the tests do, as a socket of
theirs is closed then; on that socket it is asked, with the descriptors of the new process's standard streams, and of
one more on which it says what became of the process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

MAX_REQUEST = 1 << 20
STREAMS = 3
_NUMBER = struct.Struct("=i")
#: gevent belongs to the process that uses it, and alembic runs its scripts as they are imported.
_NOT_BEFOREHAND = ("cdrhub.sources.freeswitch.esl", "cdrhub.store.migrations")
_ALSO = ("alembic.command", "aiosqlite", "asyncpg", "asyncmy", "rich.progress", "rich.table", "lxml.etree")


class Request(NamedTuple):
    """A process that is to be."""

    arguments: Sequence[str]
    cwd: str
    environ: Mapping[str, str]


@dataclass(slots=True)
class Process:
    """A process that was forked; it is waited for and signalled as one of `subprocess.Popen` is."""

    pid: int
    _fate: socket.socket
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, minus the number of the signal that ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, as soon as there is one. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._fate.settimeout(timeout)
            try:
                status = _number(self._fate)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired("cdrhub", timeout or 0.0) from error
            self.returncode = os.waitstatus_to_exitcode(status)
            self._fate.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that is over: its id may be another's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that forks. Started when the first one is asked for."""

    def __init__(self) -> None:
        self._forking: subprocess.Popen[bytes] | None = None
        self._asking: socket.socket | None = None
        self._beginning = threading.Lock()

    def start(
        self, arguments: Sequence[str], *, streams: Sequence[int], cwd: Path, environ: Mapping[str, str]
    ) -> Process:
        """A process of the program; `streams` are descriptors for its standard input, output and errors."""
        with self._beginning:  # some tests start two at once, from threads
            if self._asking is None:
                self._asking = self._begin()
        ours, theirs = socket.socketpair()
        with theirs:
            request = json.dumps(Request(arguments, str(cwd), dict(environ))).encode("ascii")
            socket.send_fds(self._asking, [request], [*streams, theirs.fileno()])
        return Process(pid=_number(ours), _fate=ours)

    def close(self) -> None:
        """End the process that forks; those that it forked go on."""
        if self._asking is not None and self._forking is not None:
            self._asking.close()
            self._forking.wait()

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._forking = subprocess.Popen(
                [sys.executable, "-P", "-W", "error", __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        return ours


_warm: Warm | None = None


@contextmanager
def warmed() -> Iterator[None]:
    """Here processes of the program are forked; without it, as in measurements, each is started."""
    global _warm  # noqa: PLW0603 - one for each process of the tests, which know nothing of it
    _warm = Warm()
    try:
        yield
    finally:
        _warm.close()
        _warm = None


def start(
    arguments: Sequence[str],
    *,
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    cwd: Path,
    environ: Mapping[str, str],
    fresh: bool = False,
) -> Process | subprocess.Popen[bytes]:
    """`cdrhub` with these arguments as a process; `fresh`: with an interpreter of its own."""
    if _warm is None or fresh:
        command = [sys.executable, "-m", "cdrhub", *arguments]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=environ)
    streams = [stream.fileno() for stream in (stdin, stdout, stderr)]
    return _warm.start(arguments, streams=streams, cwd=cwd, environ=environ)


def run(
    arguments: Sequence[str], *, stdin: bytes, cwd: Path, environ: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """What `cdrhub` said with these arguments, and its exit status. Raises subprocess.TimeoutExpired, after its end."""
    with TemporaryFile() as given, TemporaryFile() as said, TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        process = start(arguments, stdin=given, stdout=said, stderr=errors, cwd=cwd, environ=environ)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(["cdrhub", *arguments], status, said.read(), errors.read())


def _number(said: socket.socket) -> int:
    data = said.recv(_NUMBER.size, socket.MSG_WAITALL)
    if len(data) < _NUMBER.size:
        raise RuntimeError("the process that forks has ended")
    found: int = _NUMBER.unpack(data)[0]
    return found


# -- in the process that forks -----------------------------------------------------------------------------------------


def _import_everything() -> None:
    package = importlib.import_module("cdrhub")
    names = [found.name for found in pkgutil.walk_packages(package.__path__, "cdrhub.")]
    for name in names:
        if not name.startswith(_NOT_BEFOREHAND) and not name.endswith("__main__"):
            importlib.import_module(name)
    for name in _ALSO:
        importlib.import_module(name)
    importlib.import_module("cdrhub.model.numbers").load_numbering_plans()
    gc.collect()
    gc.freeze()


def _forked(asked: socket.socket) -> Request | None:
    """Fork whenever it is asked for, and say what became of the processes. Returns what is to be run in a process that
    was forked; None in this one, when nobody asks any more."""
    waking, woken = socket.socketpair()
    waking.setblocking(False)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    fates: dict[int, socket.socket] = {}
    with waking, woken:
        while True:
            readable, _, _ = select.select([asked, woken], [], [])
            if woken in readable:
                woken.recv(4096)
                _tell(fates)
            if asked in readable:
                data, descriptors, _, _ = socket.recv_fds(asked, MAX_REQUEST, STREAMS + 1)
                if not data:
                    return None
                fate = socket.socket(fileno=descriptors.pop())
                pid = os.fork()
                if not pid:
                    break
                for descriptor in descriptors:
                    os.close(descriptor)
                fate.sendall(_NUMBER.pack(pid))
                fates[pid] = fate
        signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in (asked, fate, *fates.values()):
        each.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return Request(*json.loads(data))


def _tell(fates: dict[int, socket.socket]) -> None:
    while fates:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with fates.pop(pid) as fate, contextlib.suppress(BrokenPipeError):  # nobody asks any more
            fate.sendall(_NUMBER.pack(status))


def _become(request: Request) -> None:
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.environ)
    time.tzset()
    sys.argv = ["cdrhub", *request.arguments]
    runpy.run_module("cdrhub", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        _import_everything()
        request = _forked(asked)
    if request is not None:
        _become(request)
