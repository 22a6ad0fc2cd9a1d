#!/usr/bin/env python3
"""Makes a virtual environment with pip, also where this Python has no ensurepip (Debian without python3-venv).

    python3 tools/make_venv.py .venv

Ways to pip, in this order: ensurepip; the pip of this Python; uv; pip's own wheel, fetched from the package index
that pip itself would use (PIP_INDEX_URL, pip.conf; PEP 503 and 691), checked against the index's SHA-256 and run
from the wheel. Needs nothing but the standard library. An environment that is complete is left alone.
"""

from __future__ import annotations

import configparser
import hashlib
import html.parser
import importlib.util
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import urldefrag, urljoin, urlsplit

OLDEST_PYTHON = (3, 11)
DEFAULT_INDEX = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
TIMEOUT_SECONDS = 60
MAX_BYTES = 32 * 1024**2  #: of an index page or of the wheel; pip's has about 2 MB

_WHEEL = re.compile(r"pip-(?P<version>\d+(?:\.\d+)*)-py3-none-any\.whl")
_AT_LEAST = re.compile(r">=\s*(\d+)\.(\d+)")


class Wheel(NamedTuple):
    """A wheel of pip in an index."""

    version: tuple[int, ...]
    name: str
    url: str
    sha256: str


class Fetched(NamedTuple):
    """A page of an index."""

    url: str
    content_type: str
    body: bytes


def wheels(page: Fetched, *, python: tuple[int, int]) -> Iterator[Wheel]:
    """The released wheels of pip on an index page that this Python may use and whose SHA-256 the index tells."""
    files = _of_json(page.body) if "json" in page.content_type else _of_html(page.body)
    for file in files:
        url, fragment = urldefrag(urljoin(page.url, file["url"]))
        name = urlsplit(url).path.rpartition("/")[2]
        sha256 = file["sha256"] or (fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else "")
        found = _WHEEL.fullmatch(name)
        if found is None or not sha256 or file["yanked"]:
            continue
        least = _AT_LEAST.search(file["requires"])
        if least is None or (int(least[1]), int(least[2])) <= python:
            version = tuple(int(part) for part in found["version"].split("."))
            yield Wheel(version=version, name=name, url=url, sha256=sha256)


def _of_json(body: bytes) -> Iterator[dict[str, str]]:
    for file in json.loads(body)["files"]:
        yield {
            "url": file["url"],
            "sha256": file.get("hashes", {}).get("sha256", ""),
            "requires": file.get("requires-python") or "",
            "yanked": "yes" if file.get("yanked") else "",
        }


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "a" and said.get("href"):
            self.found.append(
                {
                    "url": said["href"] or "",
                    "sha256": "",
                    "requires": said.get("data-requires-python") or "",
                    "yanked": "yes" if "data-yanked" in said else "",
                }
            )


def _of_html(body: bytes) -> Iterator[dict[str, str]]:
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    yield from links.found


def pip_setting(name: str, environ: Mapping[str, str]) -> str | None:
    """What pip's environment or configuration files say of `name`, e.g. `index-url`; the nearest to the user wins."""
    variable = environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if variable:
        return variable
    home = Path(environ.get("HOME", "/nonexistent"))
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config_home / "pip/pip.conf"]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser()
    parser.read(files, encoding="utf-8")
    return parser.get("global", name, fallback=None)


def _fetch(url: str, *, context: ssl.SSLContext) -> Fetched:
    if urlsplit(url).scheme not in {"http", "https"}:
        _give_up(f"the package index {url} is not on the web")
    request = urllib.request.Request(url, headers={"Accept": ACCEPT, "User-Agent": "cdrhub-make-venv"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as reply:  # noqa: S310
        body = reply.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            _give_up(f"{url} has more than {MAX_BYTES} bytes")
        return Fetched(url=reply.url, content_type=reply.headers.get("Content-Type", ""), body=body)


def _pip_from_index(python: Path) -> None:
    index = pip_setting("index-url", os.environ) or DEFAULT_INDEX
    context = ssl.create_default_context(cafile=pip_setting("cert", os.environ))
    try:
        page = _fetch(f"{index.rstrip('/')}/pip/", context=context)
        usable = sorted(wheels(page, python=sys.version_info[:2]))
        if not usable:
            _give_up(f"{index} has no wheel of pip for this Python")
        wheel = usable[-1]
        body = _fetch(wheel.url, context=context).body
    except (urllib.error.URLError, TimeoutError, ssl.SSLError) as error:
        _give_up(f"pip cannot be fetched from {index}: {error}")
    if hashlib.sha256(body).hexdigest() != wheel.sha256:
        _give_up(f"{wheel.url} is not what the index says: its SHA-256 differs")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, wheel.name)
        file.write_bytes(body)
        _run(python, "-I", f"{file}/pip", "install", "--quiet", "--no-index", file)


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)  # noqa: S603


def _works(*command: str | Path) -> bool:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True)  # noqa: S603
    return done.returncode == 0


def _give_up(why: str) -> NoReturn:
    sys.exit(f"make_venv: {why}\nInstall python3-venv (Debian: apt-get install python3-venv) and try again.")


def main(folder: Path) -> None:
    """Make the environment in `folder`."""
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        sys.exit(f"make_venv: this is Python {sys.version.split()[0]}, {wanted} or newer is needed: make PYTHON=…")
    python = folder / "bin" / "python"
    if _works_inside(python):
        return
    venv.create(folder, clear=folder.exists(), symlinks=True, with_pip=False)
    pip_here = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if importlib.util.find_spec("ensurepip") and _works(python, "-I", "-m", "ensurepip", "--default-pip"):
        way = "ensurepip"
    elif _works(*pip_here, "--python", python, "install", "--quiet", "pip"):
        way = "the pip of this Python"
    elif (uv := shutil.which("uv")) and _works(uv, "pip", "install", "--quiet", "--python", python, "pip"):
        way = "uv"
    else:
        _pip_from_index(python)
        way = "pip's wheel from the package index"
    print(f"made {folder} with {way}")  # noqa: T201


def _works_inside(python: Path) -> bool:
    return python.exists() and _works(python, "-I", "-m", "pip", "--version")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_venv.py FOLDER")
    main(Path(sys.argv[1]))
