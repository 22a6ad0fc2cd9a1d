"""The command line. `main` is the console script `cdrhub`; each group of commands is a thin module.

Modules of commands import nothing heavy at their top: `cdrhub --help` loads neither the database nor the phone
systems. Whatever goes wrong is one clear line on stderr and an exit code of sysexits (`failure.py`).
"""

from __future__ import annotations

import gc
import os
import sys

from cdrhub.cli.failure import exit_code_of

#: Modules that are imported and batches of records are many objects that make no cycles. With Python's own thresholds
#: the collector looked through all of them again and again: a sixth of a command's start, 15 % of the time under load.
GC_THRESHOLDS = (50_000, 20, 100)


def main() -> None:
    """Run the command line of this process and exit with its code."""
    gc.set_threshold(*GC_THRESHOLDS)
    _open_what_is_closed()
    sys.exit(exit_code_of(_command))


def _open_what_is_closed() -> None:
    """A standard stream that is closed (`cdrhub calls >&-`) is as good as /dev/null: nothing comes, nobody reads. No
    file that is opened later gets its number, for others write there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8", closefd=False))


def _command() -> object:
    """What the command returns that this process was started with."""
    from cdrhub.cli.app import command  # here, so that an interrupt of the import is handled too

    return command(prog_name="cdrhub", standalone_mode=False)
