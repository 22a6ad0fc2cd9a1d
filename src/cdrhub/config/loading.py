"""Reads the TOML file into a Config, or raises one ConfigError that lists everything that is wrong with it.

Every problem is one line, `config.toml:12: sources.lagos.timezone: …`, with the line of the key and what to do. No
message shows what a reference (`${NAME}`) stands for.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from cdrhub.config.agreement import disagreements
from cdrhub.config.directory import read_directory
from cdrhub.config.keylines import KeyPath, key_lines, line_of
from cdrhub.config.model import (
    FILLED_BY_THE_HUB,
    MAX_SOURCES,
    SECTIONS,
    Config,
    DatabaseConfig,
    HttpConfig,
    HubConfig,
)
from cdrhub.config.problems import booleans_for_numbers, humanised, nearest, value_at
from cdrhub.config.redial import MAX_DIALLERS, RedialConfig
from cdrhub.config.references import Resolver
from cdrhub.config.table import MAX_NAME, NAME_PATTERN, Table
from cdrhub.errors import ConfigError
from cdrhub.os_errors import in_words
from cdrhub.redial.diallers import dialler_type
from cdrhub.sources.base import DirectoryEntry, SourceConfig
from cdrhub.sources.registry import system

MAX_FILE_BYTES = 1024**2
MAX_OF_A_DIRECTORY = 20  #: problems of one directory file that are shown

TOO_DEEP = "is nested too deeply"

_TOP_LEVEL = (*SECTIONS, "sources")
_QUOTES = 'text stands in quotes, as in mode = "on"'
_TOML_POSITION = re.compile(r"\s*\((?:at line (?P<line>\d+), column \d+|at end of document)\)$")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")

Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in `path`, with references taken from `environ` and from files.

    Raises ConfigError; its message has one line for each problem.
    """
    return parse(_read(path), path=path, environ=environ)


def parse(text: str, *, path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration of a TOML text; `path` is where it stands (for messages and relative paths)."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_POSITION.search(str(error))
        line = found["line"] if found is not None and found["line"] else text.count("\n") + 1
        message = _TOML_POSITION.sub("", str(error))
        hint = f": {_QUOTES}" if message.startswith("Invalid value") else ""
        raise ConfigError(f"{path}:{line}: is not TOML: {message[:1].lower()}{message[1:]}{hint}") from error
    except ValueError as error:  # Python reads no number of thousands of digits
        raise ConfigError(f"{path}: is not TOML: a number has too many digits") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: {TOO_DEEP}") from error
    try:
        return _Reading(text=text, document=document, path=path, environ=environ).config()
    except RecursionError as error:  # of dotted keys, which TOML reads without descending
        raise ConfigError(f"{path}: {TOO_DEEP}") from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; config.example.toml shows what may stand in it") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: has more than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not text in UTF-8") from error


class _Reading:
    """One reading of one document: collects problems, gives the Config if there are none."""

    def __init__(self, *, text: str, document: dict[str, Any], path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._folder = path.absolute().parent
        self._lines = key_lines(text)
        self._document = document
        self._problems: list[tuple[int, int, KeyPath, str]] = []
        self._unresolved: set[KeyPath] = set()
        self._refused: set[KeyPath] = set()  #: tables that people name, and that are not as they should be
        self._resolver = Resolver(environ, folder=self._folder, report=self._report_unresolved)
        self._resolved: dict[str, Any] = self._resolver.resolve(document)
        self._refuse_nul(self._resolved, ())

    def config(self) -> Config:
        self._unknown_tables()
        sections = {name: self._section(name, model) for name, model in SECTIONS.items()}
        sources = self._sources()
        entries = self._directories(sources)
        if not any(section is None for section in sections.values()):
            config = Config(file=self._path, **sections, sources=sources, entries=entries)
            for path, message in disagreements(config, refused=self._refused):
                self._report(path, message)
            if not self._problems:
                return config
        raise ConfigError("\n".join(self._rendered()))

    def _refuse_nul(self, value: Any, path: KeyPath) -> None:
        """No text may hold what PostgreSQL does not store: settings are kept in the database."""
        if isinstance(value, dict):
            for key, item in value.items():
                self._refuse_nul(key, (*path, key))
                self._refuse_nul(item, (*path, key))
        elif isinstance(value, list):
            for position, item in enumerate(value):
                self._refuse_nul(item, (*path, position))
        elif isinstance(value, str) and "\0" in value:
            self._report(path, "must not hold the character NUL")

    def _report_unresolved(self, path: KeyPath, message: str) -> None:
        self._unresolved.add(path)
        self._report(path, message)

    def _report(self, path: KeyPath, message: str) -> None:
        line = line_of(self._lines, path) or 0
        self._problems.append((line, len(self._problems), path, message))

    def _rendered(self) -> list[str]:
        out = []
        for line, _, path, message in sorted(self._problems):
            where = f"{self._path}:{line}" if line else str(self._path)
            out.append(self._resolver.conceal(f"{where}: {dotted(path)}: {message}".replace("\n", " ")))
        return list(dict.fromkeys(out))

    def _unknown_tables(self) -> None:
        for name in self._document.keys() - set(_TOP_LEVEL):
            self._report((name,), f"there is no such table{nearest(name, _TOP_LEVEL)}")

    def _section(self, name: str, model: type[Table]) -> Table | None:
        table = self._resolved.get(name, {})
        if not isinstance(table, dict):
            self._report((name,), f"must be a table: write [{name}]")
            return None
        if model is RedialConfig:
            return self._redial(table)
        section = self._validated(model, table, self._document.get(name, {}), (name,))
        if isinstance(section, HubConfig):
            return section.model_copy(update={"data_dir": self._folder / section.data_dir})
        if isinstance(section, DatabaseConfig):
            return section.model_copy(update={"url": self._absolute_url(section.url)})
        if isinstance(section, HttpConfig):
            files = {"tls_certificate": section.tls_certificate, "tls_key": section.tls_key}
            for key, file in files.items():
                try:
                    if file is not None and not stat.S_ISREG((self._folder / file).stat().st_mode):
                        self._report(("http", key), f"{file} is no file")
                except OSError as error:  # it is missing, or its folder is closed to this user
                    self._report(("http", key), f"{file}: {in_words(error)}")
            return section.model_copy(update={key: self._folder / file for key, file in files.items() if file})
        return section

    def _redial(self, table: dict[str, Any]) -> RedialConfig | None:
        """`[redial]`; each of its diallers is checked by the model of its type."""
        plain = {key: value for key, value in table.items() if key != "diallers"}
        section = self._validated(RedialConfig, plain, self._document["redial"] if table else {}, ("redial",))
        diallers = self._named(
            ("redial", "diallers"),
            table.get("diallers", {}),
            noun="dialler",
            at_most=MAX_DIALLERS,
            means='what dials, e.g. type = "webhook"',
            model_of=lambda word: dialler_type(word).config_model,
        )
        return section.model_copy(update={"diallers": diallers}) if section is not None else None

    def _sources(self) -> dict[str, SourceConfig]:
        sources = self._named(
            ("sources",),
            self._resolved.get("sources", {}),
            noun="source",
            at_most=MAX_SOURCES,
            means='the phone system, e.g. type = "3cx"',
            model_of=lambda word: system(word).config_model,
        )
        return {name: self._anchored(source) for name, source in sources.items()}

    def _named(
        self,
        where: KeyPath,
        tables: Any,
        *,
        noun: str,
        at_most: int,
        means: str,
        model_of: Callable[[str], type[Model]],
    ) -> dict[str, Model]:
        """Tables that people name, each checked by the model of its `type`; `means` is what that says."""
        if not isinstance(tables, dict):
            self._report(where, f"must be tables: write [{dotted(where)}.<name>]")
            return {}
        if len(tables) > at_most:
            self._report(where, f"there are more than {at_most} {noun}s")
        found = {}
        for name, table in tables.items():
            if not re.fullmatch(NAME_PATTERN, name):
                self._report(
                    (*where, name),
                    f"a {noun}'s name begins with a-z or 0-9 and has up to {MAX_NAME} of the characters a-z 0-9 _ -",
                )
            elif (checked := self._typed((*where, name), table, means=means, model_of=model_of)) is not None:
                found[name] = checked
            if name not in found:
                self._refused.add((*where, name))
        return found

    def _typed(self, where: KeyPath, table: Any, *, means: str, model_of: Callable[[str], type[Model]]) -> Model | None:
        if not isinstance(table, dict):
            self._report(where, f"must be a table: write [{dotted(where)}]")
            return None
        word = table.get("type")
        if not isinstance(word, str):
            self._report((*where, "type"), f"is missing: {means}")
            return None
        try:
            model = model_of(word)
        except ConfigError as error:
            self._report((*where, "type"), str(error))
            return None
        for key in FILLED_BY_THE_HUB & model.model_fields.keys() & table.keys():
            self._report((*where, key), "there is no such key: name a CSV file with `directory`")
        return self._validated(model, table, value_at(self._document, where), where)

    def _absolute_url(self, url: SecretStr) -> SecretStr:
        """A relative SQLite file is relative to the folder of the configuration, as every other path."""
        scheme, separator, file = url.get_secret_value().partition(":///")
        if scheme != "sqlite" or not separator:
            return url
        return SecretStr(f"sqlite:///{self._folder / file}")

    def _validated(
        self, model: type[Model], table: dict[str, Any], shown: Mapping[str, Any], prefix: KeyPath
    ) -> Model | None:
        booleans = [*booleans_for_numbers(model, table)]
        for path in booleans:
            self._report((*prefix, *path), "must be a number, not true or false")
        try:
            checked = model.model_validate(table)
            return None if booleans else checked
        except ValidationError as error:
            for path, message in humanised(error, model, shown):
                known = any((*prefix, *path)[: len(missing)] == missing for missing in self._unresolved)
                if not known and path not in booleans:
                    self._report((*prefix, *path), message)
            return None

    def _anchored(self, source: SourceConfig) -> SourceConfig:
        """With `path` and `directory` absolute where they are files."""
        files = ("directory",) if source.ingest_path is not None else ("directory", "path")
        update = {}
        for key in files:
            value = getattr(source, key, None)
            if isinstance(value, str) and value:
                update[key] = str(self._folder / value)
        return source.model_copy(update=update) if update else source

    def _directories(self, sources: Mapping[str, SourceConfig]) -> dict[str, tuple[DirectoryEntry, ...]]:
        entries: dict[str, tuple[DirectoryEntry, ...]] = {}
        for name, source in sources.items():
            if source.directory:
                problems: Sequence[str]
                try:
                    entries[name], problems = read_directory(Path(source.directory))
                except ConfigError as error:
                    problems = [str(error)]
                for problem in problems[:MAX_OF_A_DIRECTORY]:
                    self._report(("sources", name, "directory"), problem)
                if (more := len(problems) - MAX_OF_A_DIRECTORY) > 0:
                    self._report(("sources", name, "directory"), f"… and {more} more")
        return entries


def dotted(path: KeyPath) -> str:
    """`sources.lagos.timezone`, `http.tokens[0].name`; keys that TOML wants quoted are quoted."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            key = part if _PLAIN_KEY.fullmatch(part) else repr(part)
            out += f".{key}" if out else key
    return out
