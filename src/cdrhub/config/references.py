"""References in the configuration: `${NAME}` takes an environment variable, `${file:/run/secrets/x}` a file's content.

`$${` is a literal `${`. A file's content is stripped of white space around it. What a reference gives is a secret
until proven otherwise: `Resolver.conceal` puts the reference back into any text that is shown to people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cdrhub.config.keylines import KeyPath

MAX_SECRET_FILE = 65_536  #: bytes of a file that a reference may take in
MIN_CONCEALED = 3  #: characters; shorter values would be found by chance in innocent words

_REFERENCE = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<name>[^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER_INFO_OPENS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]*$")
_USER_INFO_CLOSES = re.compile(r"[^/?#@]*@")


class Resolver:
    """Replaces the references of one document; remembers what was taken so that it can be concealed."""

    def __init__(self, environ: Mapping[str, str], *, folder: Path, report: Callable[[KeyPath, str], None]) -> None:
        """`folder` is where relative files of `${file:…}` are; `report` is told what is wrong with a reference."""
        self._environ = environ
        self._folder = folder
        self._report = report
        self._taken: dict[str, str] = {}

    def resolve(self, value: Any, path: KeyPath = ()) -> Any:
        """`value`, a TOML value, with every reference in its texts replaced."""
        if isinstance(value, dict):
            return {key: self.resolve(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, (*path, position)) for position, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) and "${" in value else value

    def conceal(self, text: str) -> str:
        """`text` with every value that a reference gave replaced by that reference."""
        for secret in sorted(self._taken, key=len, reverse=True):
            for spelling in dict.fromkeys((secret, repr(secret)[1:-1], quote(secret, safe=""))):
                text = text.replace(spelling, self._taken[secret])
        return text

    def _text(self, text: str, path: KeyPath) -> str:
        """In the user part of a URL (`scheme://user:HERE@host`) a value is percent-encoded (RFC 3986), so that a
        password may contain `@`, `/` or `:`."""
        out: list[str] = []
        at = 0
        for found in _REFERENCE.finditer(text):
            out.append(text[at : found.start()])
            at = found.end()
            if found["escape"]:
                out.append("${")
                continue
            value = self._take(found["name"], path)
            blanked = _REFERENCE.sub("x", text[: found.start()])
            rest = _REFERENCE.sub("x", text[at:])
            if _USER_INFO_OPENS.search(blanked) and _USER_INFO_CLOSES.match(rest):
                value = quote(value, safe="")
            out.append(value)
        out.append(text[at:])
        return "".join(out)

    def _take(self, name: str, path: KeyPath) -> str:
        reference = f"${{{name}}}"
        value = ""
        if name.startswith("file:"):
            value = self._file(name.removeprefix("file:"), path)
        elif not _VARIABLE.fullmatch(name):
            self._report(
                path, f"{reference!r} is no reference: write ${{NAME}}, ${{file:/path}}, or $${{ for a plain ${{"
            )
        elif name not in self._environ:
            self._report(path, f"the environment variable {name} is not set")
        elif not self._environ[name]:
            self._report(path, f"the environment variable {name} is empty")
        elif any("\ud800" <= character <= "\udfff" for character in self._environ[name]):  # PEP 383
            self._report(path, f"the environment variable {name} is not text in UTF-8")
        else:
            value = self._environ[name]
        if len(value) >= MIN_CONCEALED:
            self._taken[value] = reference
        return value

    def _file(self, name: str, path: KeyPath) -> str:
        file = self._folder / name
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_SECRET_FILE + 1)
            if len(content) > MAX_SECRET_FILE:
                self._report(path, f"the file {name} has more than {MAX_SECRET_FILE} bytes")
                return ""
            value = content.decode().strip()
        except OSError as error:
            self._report(path, f"the file {name} cannot be read: {error.strerror or error}")
            return ""
        except (UnicodeDecodeError, ValueError):
            self._report(path, f"the file {name} is not text in UTF-8")
            return ""
        if not value:
            self._report(path, f"the file {name} is empty")
        return value
