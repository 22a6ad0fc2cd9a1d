"""How a command fails: one clear line on stderr and an exit code of sysexits (sysexits.h of BSD).

No traceback reaches a user; with CDRHUB_DEBUG=1 it does, for a report of a bug.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum

from typer.exceptions import Abort, TyperException

from cdrhub.cli.plain import plain
from cdrhub.errors import (
    AddressUnavailable,
    CdrhubError,
    ConfigError,
    IntakeRefused,
    JournalError,
    NotFound,
    SchemaOutdated,
    StoreError,
    UsageError,
)


class Exit(IntEnum):
    """Exit codes. Service managers look at them: a start that ended with CONFIG is not worth repeating."""

    OK = 0
    DIFFERENT = 1  #: the command worked and the answer is no, e.g. a check that found something
    USAGE = 64
    DATA = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    INTERNAL = 70
    TEMPORARY = 75
    CONFIG = 78
    INTERRUPTED = 130


_CODES: tuple[tuple[type[BaseException], Exit], ...] = (
    (ConfigError, Exit.CONFIG),
    (AddressUnavailable, Exit.UNAVAILABLE),
    (SchemaOutdated, Exit.CONFIG),
    (NotFound, Exit.NO_INPUT),
    (StoreError, Exit.UNAVAILABLE),
    (JournalError, Exit.TEMPORARY),
    (IntakeRefused, Exit.TEMPORARY),
    (UsageError, Exit.USAGE),
    (CdrhubError, Exit.DATA),
)


def exit_code_of(command: Callable[[], object]) -> int:
    """Run `command`; its exit code, after saying on stderr what was wrong."""
    try:
        returned = command()
        if returned == Exit.INTERRUPTED:  # what typer makes of KeyboardInterrupt
            raise Abort
    except (KeyboardInterrupt, Abort):
        say("interrupted")
        return Exit.INTERRUPTED
    except SystemExit as ended:  # typer's own end, when whoever read our output has gone (`cdrhub calls | head`)
        return Exit.OK if isinstance(ended.__context__, BrokenPipeError) else Exit.INTERNAL
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        return _failed(error)
    return returned if isinstance(returned, int) else Exit.OK


def say(message: str) -> None:
    """One line on stderr for each line of `message`, free of control characters. That nobody can read it changes
    nothing: the exit code says enough."""
    with contextlib.suppress(OSError):
        for line in message.splitlines() or [""]:
            sys.stderr.write(f"cdrhub: {plain(line)}\n")
        sys.stderr.flush()


def spoken(error: BaseException) -> str:
    """What an error says; what its class says where it says nothing."""
    return str(error).strip() or type(error).__doc__ or type(error).__name__


def _failed(error: Exception) -> int:
    if (
        isinstance(error, BaseExceptionGroup)
        and len(error.exceptions) == 1
        and isinstance(error.exceptions[0], Exception)
    ):
        return _failed(error.exceptions[0])
    if os.environ.get("CDRHUB_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, TyperException):
        return _misused(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            say(spoken(error))
            return code
    if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError) and error.filename:
        say(f"{error.filename}: {error.strerror}")
        return Exit.NO_INPUT
    if (found := _of_the_surroundings(error)) is not None:
        message, code = found
        say(message)
        return code
    hint = "" if os.environ.get("CDRHUB_DEBUG") else "; CDRHUB_DEBUG=1 shows where"
    say(f"internal error, please report it: {type(error).__name__}: {spoken(error)}{hint}")
    return Exit.INTERNAL


def _of_the_surroundings(error: Exception) -> tuple[str, Exit] | None:
    """What is wrong with the terminal or the disk, where the error is of that and not of the program."""
    if isinstance(error, UnicodeEncodeError):
        output = getattr(sys.stdout, "encoding", "utf-8")  # the error of a codec such as koi8-r names "charmap"
        if error.encoding not in {"utf-8", "idna"} and codecs.lookup(output).name != "utf-8":
            return f"the output is in {output}, which lacks characters of it: set PYTHONIOENCODING=utf-8", Exit.USAGE
        if any("\udc80" <= character <= "\udcff" for argument in sys.argv for character in argument):
            return "an argument is not text in UTF-8", Exit.USAGE
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{error.filename or 'the output'} cannot be written: {error.strerror}", Exit.UNAVAILABLE
    return None


def _misused(error: TyperException) -> int:
    message = error.format_message().strip().replace("Value error, ", "")
    if message:  # a group without a command has shown its help instead
        context = getattr(error, "ctx", None)
        say(message + (f" (try: {context.command_path} --help)" if context is not None else ""))
    return Exit.USAGE
