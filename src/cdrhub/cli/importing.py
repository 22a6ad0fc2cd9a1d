"""`cdrhub import`: old log files and exports into the same calls table, by the same decoders and the same writer.

It writes to the database itself, not through the daemon's journal, and may run beside the daemon: the write protocol
takes several writers, and a record that is already there is known by its bytes. Imported records are marked as not
live, so nobody is told of them and nothing is decided on them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from gzip import BadGzipFile, GzipFile
from io import BufferedIOBase, BufferedReader
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from cdrhub.cli.database import Opened, opened
from cdrhub.cli.failure import say
from cdrhub.cli.options import ConfigFile, loaded
from cdrhub.cli.output import counted
from cdrhub.cli.progress import stage, stages
from cdrhub.errors import CdrhubError, DecodeError, StoreUnavailable, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from cdrhub.cli.reading import Reader
    from cdrhub.config import Config
    from cdrhub.sources.base import System
    from cdrhub.store.batch import Item, Written

CHUNK_BYTES = 1024**2
UNPACKED_BYTES = 1024  #: at once; of those in which the damage of a file is met nothing is had
MAX_DOCUMENT_BYTES = 1024**3  #: of a file that is one document and can only be read as a whole
MAX_BATCH_BYTES = 8 * 1024**2  #: of record bodies in one transaction
TRIED = 20  #: records of a file, of which one at least must be understood
GZIP = b"\x1f\x8b"  #: how such a file begins (RFC 1952, 2.3.1)
DAMAGE = (EOFError, BadGzipFile, zlib.error)  #: what reading a damaged one raises


class Readable(Protocol):
    """What is read in chunks."""

    def read(self, size: int, /) -> bytes:
        """So many bytes or fewer, none at the end."""


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(
        "import",
        epilog="Examples: cdrhub import lagos cdr.log cdr-2025-*.gz · ssh pbx cat cdr.log | cdrhub import lagos -",
    )(import_files)


def import_files(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The source that the records belong to.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Logs or exports of it, gzip or not; - is standard input.")
    ],
    config: ConfigFile = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help=f"Also import a file if none of its first {TRIED} records is understood.")
    ] = False,
) -> None:
    """Import a phone system's old logs and exports.

    Records that are already in the database are recognised and left alone. So you may repeat an import, and run it
    beside the daemon; it may overlap with what the daemon received. Records that cannot be understood are kept in
    suspense, and the exit code is still 0: `cdrhub suspense list` shows them. If no record at the beginning of a file
    is understood, it is taken for another system's: the import stops there with exit code 65, unless --force is given.
    """
    settings = loaded(config, source=source)
    for file in files:
        if str(file) != "-" and not file.is_file():
            raise FileNotFoundError(2, _why_no_file(file), str(file))
    with opened(settings, create=True) as database:
        try:
            total, damage = _import(database, config=settings, source=source, files=files, force=force)
        except (KeyboardInterrupt, StoreUnavailable):
            say("what was imported so far stays; run it again for the rest: what is there already makes no second call")
            raise
    typer.echo(
        f"{counted(total.records, 'record')}: {total.new} new, {total.duplicates} already there, "
        f"{total.suspended} in suspense, {total.ignored} without a call; "
        f"{counted(total.calls_created, 'call')} created, {total.calls_updated} completed"
    )
    if total.suspended:
        typer.echo(f"look at what is in suspense with: cdrhub suspense list --source {source}")
    if damage:
        raise CdrhubError("; ".join(damage))


def _why_no_file(path: Path) -> str:
    if not path.exists():
        return "there is no such file"
    return "this is no file" if path.is_dir() else "this is no file: let it be standard input, and write -"


def _import(
    database: Opened, *, config: Config, source: str, files: Sequence[Path], force: bool
) -> tuple[Written, Sequence[str]]:
    """What was written, and which files are damaged."""
    from cdrhub.store.batch import Written
    from cdrhub.store.tally import merged

    recorder = Recorder(database.reader, config=config, source=source)
    database.run(database.reader.remember(database.store))
    total, damage = Written(), []
    with stages(of_bytes=True) as progress:
        for file in files:
            reading = _Reading(file, recorder=recorder, progress=progress)
            items = reading.items()
            if not force:
                items = recognised(items, name=str(file), source=source)
            for batch in batches(items, batch_records=config.database.batch_records):
                total = merged([total, database.run(database.store.write(batch))])
            if reading.damage is not None:
                damage.append(reading.damage)
    return total, damage


class Recorder:
    """Makes records of one source's messages, and reads them as its daemon would."""

    def __init__(self, reader: Reader, *, config: Config, source: str) -> None:
        from cdrhub.sources.registry import system

        self._reader = reader
        self._source = source
        self._revision = config.revision(source)
        self.system: System = system(config.sources[source].type)

    def item(self, body: bytes, *, file: str) -> Item:
        """The decoded record of one message of `file`."""
        from cdrhub.model.record import RawRecord, digest_of

        return self._reader.item(
            RawRecord(
                source=self._source,
                received_at=datetime.now(UTC),
                content_type=_content_type(body),
                body=body,
                digest=digest_of(body),
                config_revision=self._revision,
                attributes={"file": file, "live": False},
            )
        )


class _Reading:
    """One reading of a file, or of standard input."""

    def __init__(self, file: Path, *, recorder: Recorder, progress: Progress) -> None:
        self._file = file
        self._recorder = recorder
        self._progress = progress
        self.damage: str | None = None  #: why `items` ended before the file does

    def items(self) -> Iterator[Item]:
        """The decoded records; of a damaged file those before the damage."""
        if str(self._file) == "-":
            shown = stage(self._progress, "-", None)
            with open(sys.stdin.fileno(), "rb", closefd=False) as stream:
                if not stream.peek(1):
                    self.damage = "-: nothing came on standard input: did the command before it fail?"
                yield from self._items_of(stream, "-", shown.advance)
            return
        with self._file.open("rb") as stream:
            shown = stage(self._progress, self._file.name, self._file.stat().st_size)
            yield from self._items_of(stream, self._file.name, lambda _: shown.reached(stream.tell()))

    def _items_of(self, stream: BufferedReader, name: str, advance: Callable[[int], None]) -> Iterator[Item]:
        try:
            for body in messages(Unpacked(stream), self._recorder.system, name=name, advance=advance):
                yield self._recorder.item(body, file=name)
        except DAMAGE as error:
            self.damage = f"{name}: this gzip file is damaged ({error}); what came before is imported"


class Unpacked:
    """What a stream holds, without the compression if it begins as gzip does."""

    def __init__(self, stream: BufferedReader) -> None:
        packed = stream.peek(len(GZIP))[: len(GZIP)] == GZIP
        self._stream: BufferedIOBase = GzipFile(fileobj=stream) if packed else stream
        self._damage: Exception | None = None

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end. One of DAMAGE when what is before it has been read."""
        if self._damage is not None:
            raise self._damage
        read = bytearray()
        try:
            while len(read) < size and (piece := self._stream.read1(min(size - len(read), UNPACKED_BYTES))):
                read += piece
        except DAMAGE as error:
            if not read:
                raise
            self._damage = error
        return bytes(read)


def recognised(items: Iterator[Item], *, name: str, source: str) -> Iterator[Item]:
    """`items`, if one at least of the first TRIED is understood. CdrhubError before any of them is handed on."""
    first = list(islice(items, TRIED))
    refusals = [item.outcome for item in first if isinstance(item.outcome, DecodeError)]
    if first and len(refusals) == len(first):
        none = "its only record is not" if len(first) == 1 else f"none of the first {len(first)} records is"
        raise CdrhubError(
            f"{name}: {none} understood as one of {source} "
            f"({refusals[0]}); nothing of it is imported; --force imports it nevertheless, into suspense"
        )
    yield from first
    yield from items


def batches(items: Iterator[Item], *, batch_records: int) -> Iterator[list[Item]]:
    """`items` in batches bounded by count and bytes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.record.body)
        if len(batch) >= batch_records or size >= MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def messages(stream: Readable, system: System, *, name: str, advance: Callable[[int], None]) -> Iterator[bytes]:
    """The messages of a stream, read in chunks; `advance` is told how many bytes were read.

    A file that is one document is complete at its end only: what has to be kept doubles with every read, so that
    the time stays in proportion to the size. UsageError beyond MAX_DOCUMENT_BYTES.
    """
    rest = b""
    while chunk := stream.read(max(CHUNK_BYTES, len(rest))):
        advance(len(chunk))
        found, rest = system.split(rest + chunk, final=False)
        if len(rest) > MAX_DOCUMENT_BYTES:
            raise UsageError(f"{name}: one message of it has more than {MAX_DOCUMENT_BYTES} bytes: split the file")
        yield from found
    found, _ = system.split(rest, final=True)
    yield from found


def _content_type(body: bytes) -> str:
    opening = body.lstrip()[:1]
    if opening in {b"{", b"["}:
        return "application/json"
    return "text/xml" if opening == b"<" else "text/plain"
