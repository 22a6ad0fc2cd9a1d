"""`cdrhub run` in this process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from pathlib import Path

from cdrhub.daemon import run
from support.hubs import configured
from support.intake import until
from support.sql import rows

LOOK_UPS = 100  #: of names, at once
LINE = (
    "Call 1,00000172FF10D141_1,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    "Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\r\n"
)


async def test_a_file_is_read_while_a_name_server_answers_nobody(tmp_path: Path) -> None:
    """The C library looks names up in the threads of the event loop; these have the threads wait for something else."""
    log, url, answered = tmp_path / "cdr.log", f"sqlite:///{tmp_path / 'hub.db'}", threading.Event()
    log.touch()
    config = configured(tmp_path, f'[sources.pbx]\ntype = "3cx"\nmode = "file"\npath = "{log}"\n', database=url)
    loop = asyncio.get_running_loop()
    daemon = asyncio.create_task(run(config, lambda: config))
    await asyncio.sleep(0)
    look_ups = [loop.run_in_executor(None, answered.wait) for _ in range(LOOK_UPS)]
    try:
        log.write_text(LINE)
        await until(
            lambda: (tmp_path / "hub.db").exists() and rows(url, "SELECT name FROM sqlite_master WHERE name = 'calls'")
        )
        await until(lambda: rows(url, "SELECT id FROM calls"), "the file is not read")
    finally:
        answered.set()
        await asyncio.gather(*look_ups)
        os.kill(os.getpid(), signal.SIGTERM)
        await daemon
        gc.unfreeze()
