"""Folding: what is the fault of a call's records, and what is not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from cdrhub.store.folding import Folding
from support.ledger import ended, item

WITHOUT_MEMORY = """
import re, resource
from pathlib import Path
from cdrhub.model.update import CallUpdate
from cdrhub.store.folding import FoldError, fold_call

large = CallUpdate(call_key="k", kind="end", digest=b"1" * 16, values={}, attributes=dict.fromkeys(range(1_000_000)))
used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 8_000_000, resource.RLIM_INFINITY))
try:
    fold_call(("s", "k"), [large])
except FoldError:
    print("its records are to blame")
except MemoryError:
    print("no memory")
"""


async def test_others_have_their_turn_while_a_batch_is_folded_ahead() -> None:
    """It goes on for tens of milliseconds."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    folding = Folding(redecode=None, remembered=0)
    groups = folding.grouped(item(ended(f"k{number}")) for number in range(500))
    waiting = asyncio.create_task(other())
    await folding.fold_ahead(groups.values())
    waiting.cancel()
    assert all(group.folded for group in groups.values())
    assert turns > 10


def test_a_call_for_which_there_is_no_memory_does_not_put_its_records_in_suspense() -> None:
    folded = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert folded.stdout == "no memory\n", folded.stderr
