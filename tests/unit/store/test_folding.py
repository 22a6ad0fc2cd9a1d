"""Folding: what is the fault of a call's records, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys

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
