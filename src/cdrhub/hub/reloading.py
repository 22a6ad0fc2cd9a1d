"""What a reload may change, and what of it changed: a configuration before and after. Pure."""

from __future__ import annotations

from cdrhub.config import Config
from cdrhub.errors import ConfigError


def refuse_fixed(before: Config, after: Config) -> None:
    """Raise ConfigError where what cannot change in a running process differs."""
    for key in ("hub", "database"):
        if getattr(before, key) != getattr(after, key):
            raise ConfigError(f"[{key}] cannot change while the daemon runs: restart it")
    tokens = {"tokens": after.http.tokens}
    if before.http.model_copy(update=tokens) != after.http:
        raise ConfigError("[http] cannot change while the daemon runs, but for [[http.tokens]]: restart it")


def changed(name: str, old: Config, new: Config) -> bool:
    """Whether a source is gone, or its table or its directory file changed."""
    if name not in new.sources:
        return True
    return old.sources[name] != new.sources[name] or old.revision(name) != new.revision(name)


def changed_tables(before: Config, after: Config) -> list[str]:
    """The top-level tables, the sources apart, that differ."""
    return [
        name for name in ("http", "retention", "redial", "broadcast") if getattr(before, name) != getattr(after, name)
    ]


def pushed_to(name: str, config: Config) -> str | None:
    """The path at which records are pushed to this source, if they are."""
    table = config.sources.get(name)
    return table.ingest_path if table is not None else None


def addresses(config: Config) -> dict[str, str]:
    """What the sources listen on: address → the key that says so."""
    return {
        address: f"sources.{name}.listen"
        for name, source in config.sources.items()
        for address in source.listen_addresses()
    }
