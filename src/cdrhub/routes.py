"""The ingest paths of the HTTP server: one table that sources change while the server runs.

aiohttp's router is frozen once it serves, so everything below /ingest/ is one route over this table. Paths are
compared in constant time against every entry, because a path carries a secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Generator
from contextlib import contextmanager

from cdrhub.errors import ConfigError
from cdrhub.sources.base import HttpHandler


class Routes:
    """Which handler serves which path at the moment."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[HttpHandler]] = {}

    @contextmanager
    def mount(self, path: str, handler: HttpHandler) -> Generator[None]:
        """Serve `handler` at `path` while the context is open. During a reload the newer of two handlers serves."""
        if not path.startswith("/ingest/"):
            raise ConfigError(f"the path {path!r} must begin with /ingest/")
        stack = self._handlers.setdefault(path, [])
        stack.append(handler)
        try:
            yield
        finally:
            stack.remove(handler)
            if not stack:
                del self._handlers[path]

    def handlers(self, path: str) -> int:
        """How many handlers are mounted at `path`: two while a source is being exchanged."""
        return len(self._handlers.get(path, ()))

    def find(self, path: str) -> HttpHandler | None:
        """The handler of `path`, or None."""
        asked = path.encode("utf-8", "surrogateescape")
        found = None
        for known, stack in self._handlers.items():
            if hmac.compare_digest(known.encode(), asked):
                found = stack[-1]
        return found
