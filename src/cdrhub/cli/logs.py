"""Where log lines go: to stderr, for people or as JSON, structlog's and the libraries' alike. systemd's journal is told
how grave each is, so that `journalctl --priority warning` finds what matters.

Errors quote what they failed at: a request's path with its secret, a header with its token, a body with its numbers.
So a traceback is shown without the variables of its frames, and, unless `hub.log_level` is `debug`, without what its
errors say; and what the HTTP server, the event loop and the pool of connections log is told anew, as the kind of error
and where it came up.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from cdrhub.cli.plain import plain
from cdrhub.throttle import Throttle

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo

    from cdrhub.config import HubConfig

log = structlog.get_logger(__name__)

MAX_CAUSES = 10  #: of one error, for people
_QUIET = ("alembic", "sqlalchemy")  #: libraries of which warnings are enough
#: Libraries whose lines quote requests, callbacks and their arguments, or what a database said of a connection.
_QUOTING = ("aiohttp", "asyncio", "sqlalchemy.pool")
#: Priorities of sd-daemon(3), by the least level that has them.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7
_PLAIN_WORDS = re.compile(r"[A-Za-z ,!-]{1,80}")
_whole = ExceptionDictTransformer(show_locals=False)


def configure(hub: HubConfig) -> None:
    """Set this process's logging up as `[hub]` says."""
    level = getattr(logging, hub.log_level.upper())
    quoting = level <= logging.DEBUG
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    rendering: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if hub.log_format == "json":
        rendering += [
            structlog.processors.ExceptionRenderer(_whole if quoting else kinds_and_places),
            structlog.processors.JSONRenderer(),
        ]
    else:
        rendering += [
            _harmless,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback if quoting else _print_kinds_and_places,
            ),
        ]
    handler = logging.StreamHandler(sys.stderr)
    formatter = _JournalFormatter if _is_the_journal(sys.stderr) else structlog.stdlib.ProcessorFormatter
    handler.setFormatter(formatter(processors=rendering, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in _QUOTING:
        library = logging.getLogger(name)
        library.setLevel(max(level, logging.WARNING))
        library.handlers[:] = [Retelling()]
        library.propagate = False


class _JournalFormatter(structlog.stdlib.ProcessorFormatter):
    """Lines with the priority before them that systemd-journald takes off and keeps, each line of a traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((found for level, found in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def _is_the_journal(stream: TextIO) -> bool:
    """Whether `stream` leads to systemd-journald: it names its own by device and inode in $JOURNAL_STREAM
    (systemd.exec(5)), which whatever a service starts inherits, also where its output goes elsewhere."""
    try:
        there = os.fstat(stream.fileno())
    except OSError:  # a test's, or it is closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


def _harmless(_: Any, __: str, said: EventDict) -> EventDict:
    """What a line says, without what steers a terminal: a phone system names files, queues and lists. A value that
    holds white space the renderer quotes, line breaks and all; a message it does not."""
    for name, value in said.items():
        if isinstance(value, str):
            said[name] = plain(value, keep="" if name == "event" else "\t\r\n")
    return said


class Retelling(logging.Handler):
    """Tells a library's line anew: the kind of error and where it came up, nothing that it quotes. The same one is told
    once a minute: strangers who send what is no HTTP would fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle()

    def emit(self, record: logging.LogRecord) -> None:
        words = _PLAIN_WORDS.match(str(record.msg))
        said = words[0].strip() if words else "a library met an error"
        error = record.exc_info[1] if record.exc_info else None
        kind, where = (type(error).__name__, _place(error)) if error else (None, None)
        if self._throttle.allows((record.name, said, kind, where)):
            log.log(record.levelno, said, action="library_error", library=record.name, error=kind, where=where)


def kinds_and_places(exc_info: ExcInfo) -> Sequence[Mapping[str, Any]]:
    """A traceback as structlog's JSON has it, without what the errors say."""
    return [
        {
            "exc_type": stack["exc_type"],
            "is_cause": stack["is_cause"],
            "frames": [{key: frame[key] for key in ("filename", "lineno", "name")} for frame in stack["frames"]],
        }
        for stack in _stacks(_whole(exc_info))
    ]


def _stacks(told: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for stack in told:
        yield stack
        for group in stack.get("exceptions", ()):
            yield from _stacks(group)


def _print_kinds_and_places(stream: TextIO, error: ExcInfo) -> None:
    """The same for people."""
    current: BaseException | None = error[1]
    for _ in range(MAX_CAUSES):
        if current is None:
            return
        stream.write("\n" + "".join(traceback.format_tb(current.__traceback__)) + type(current).__qualname__)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _place(error: BaseException) -> str | None:
    """`file:line function` of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return None
    last = frames[-1]
    return f"{PurePath(last.filename).name}:{last.lineno} {last.name}"
