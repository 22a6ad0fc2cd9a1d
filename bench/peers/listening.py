"""A peer in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.load import can_connect
from support.servers import free_port

STOP_SECONDS = 30


@contextmanager
def listening(peer: str, *arguments: str) -> Iterator[int]:
    """The port on which `bench.peers.<peer> PORT ARGUMENTS` listens while the context is open. RuntimeError if it ends
    before it does."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", f"bench.peers.{peer}", str(port), *arguments])
    try:
        while not can_connect(port):
            if process.poll() is not None:
                raise RuntimeError(f"the peer {peer} does not start")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
