"""What the tables of a configuration must agree on, and what is refused because it would not be safe.

Pure: a configuration in, problems out. Safe by default means: beyond loopback every ingest path carries a secret and
every page but /healthz wants a token; the daemon does not start otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from ipaddress import ip_address

from cdrhub.addresses import split_address
from cdrhub.config.keylines import KeyPath
from cdrhub.config.model import MIN_SECRET, Config
from cdrhub.config.problems import nearest
from cdrhub.outgoing.private_addresses import leads_inside
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig

Problem = tuple[KeyPath, str]


def disagreements(config: Config, *, refused: Set[KeyPath]) -> Iterator[Problem]:
    """What cannot stand together, with the key that should be changed. `refused` are tables which are not in `config`
    for what is wrong with them; that nobody says they are not there."""
    yield from _tokens(config)
    yield from _exposure(config)
    yield from _ingest_paths(config)
    yield from _addresses(config)
    yield from _readers(config)
    yield from _owners(config, refused)
    yield from _diallers(config, refused)
    yield from _webhooks(config, refused)
    yield from _private_urls(config)


def _tokens(config: Config) -> Iterator[Problem]:
    names: set[str] = set()
    secrets: set[str] = set()
    for position, token in enumerate(config.http.tokens):
        if token.name in names:
            yield ("http", "tokens", position, "name"), f"another token is called {token.name!r} too"
        if token.token.get_secret_value() in secrets:
            yield ("http", "tokens", position, "token"), "another entry has the same token: give each its own"
        names.add(token.name)
        secrets.add(token.token.get_secret_value())


def _exposure(config: Config) -> Iterator[Problem]:
    if config.http.tokens:
        return
    remedy = f"add [[http.tokens]] with a name and a token of {MIN_SECRET} characters or more"
    if not config.http.loopback_only:
        yield ("http", "listen"), f"{config.http.listen} is not a loopback address and no token is configured: {remedy}"
    elif config.http.trusted_proxies:
        yield (
            ("http", "trusted_proxies"),
            f"behind a proxy others can reach the pages and no token is configured: {remedy}",
        )


def _ingest_paths(config: Config) -> Iterator[Problem]:
    known: dict[str, str] = {}
    exposed = not config.http.loopback_only or bool(config.http.trusted_proxies)
    for name, source in config.sources.items():
        path = source.ingest_path
        if path is None:
            continue
        if path in known:
            yield ("sources", name, "path"), f"the source {known[path]!r} has the same path: give each its own"
        known.setdefault(path, name)
        if exposed and not any(len(segment) >= MIN_SECRET for segment in path.split("/")[2:]):
            yield (
                ("sources", name, "path"),
                f"others than this machine can reach it and it has no secret: add a part of {MIN_SECRET} characters or "
                f'more, e.g. path = "/ingest/{name}/${{{_variable(name)}}}"',
            )


def _addresses(config: Config) -> Iterator[Problem]:
    known: list[tuple[str, int, str]] = [(*split_address(config.http.listen), "http.listen")]
    for name, source in config.sources.items():
        for address in source.listen_addresses():
            try:
                host, port = split_address(address)
            except ValueError as error:
                yield ("sources", name, "listen"), str(error)
                continue
            for other_host, other_port, whose in known:
                if port and port == other_port and _overlap(host, other_host):
                    yield ("sources", name, "listen"), f"{whose} listens on port {port} too: give each its own"
                    break
            known.append((host, port, f"the source {name!r}"))


def _readers(config: Config) -> Iterator[Problem]:
    known: dict[tuple[str, str], str] = {}
    for name, source in config.sources.items():
        for key, what in source.reads():
            if (other := known.setdefault((source.type, what), name)) != name:
                yield ("sources", name, key), f"the source {other!r} reads it too: every call would be there twice"


def _overlap(one: str, other: str) -> bool:
    """Whether a socket on one host address would be in the way of one on the other."""
    return one == other or any(_is_everything(host) for host in (one, other))


def _is_everything(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _owners(config: Config, refused: Set[KeyPath]) -> Iterator[Problem]:
    for name, source in config.sources.items():
        owner = source.into
        if owner is None or ("sources", owner) in refused:
            continue
        if owner == name:
            yield ("sources", name, "into"), "names the source itself: leave it out"
        elif owner not in config.sources:
            yield ("sources", name, "into"), f"there is no source {owner!r}{nearest(owner, config.sources)}"
        elif config.sources[owner].into is not None:
            yield ("sources", name, "into"), f"the source {owner!r} has an `into` itself: name that one"


def _diallers(config: Config, refused: Set[KeyPath]) -> Iterator[Problem]:
    for name, source in config.sources.items():
        if source.dialler is None:
            continue
        where = ("sources", name, "dialler")
        table = ("redial", "diallers", source.dialler)
        if source.dialler not in config.redial.diallers and table not in refused:
            hint = nearest(source.dialler, config.redial.diallers)
            yield where, f"there is no table [redial.diallers.{source.dialler}]{hint}"
        if source.into is not None:
            yield where, f"its records belong to the calls of {source.into!r}: name the dialler there"


def _webhooks(config: Config, refused: Set[KeyPath]) -> Iterator[Problem]:
    names: set[str] = set()
    for position, hook in enumerate(config.broadcast.webhooks):
        where: KeyPath = ("broadcast", "webhooks", position)
        if hook.name in names:
            yield (*where, "name"), f"another webhook is called {hook.name!r} too"
        names.add(hook.name)
        for source in hook.sources:
            if source not in config.sources and ("sources", source) not in refused:
                yield (*where, "sources"), f"there is no source {source!r}{nearest(source, config.sources)}"


def _private_urls(config: Config) -> Iterator[Problem]:
    """URLs to which nothing would ever be sent."""
    urls: list[tuple[KeyPath, str, bool]] = [
        (("redial", "diallers", name), table.url, table.allow_private)
        for name, table in config.redial.diallers.items()
        if isinstance(table, WebhookDiallerConfig)
    ]
    if (lookup := config.redial.case_lookup) is not None:
        urls.append((("redial", "case_lookup"), lookup.url, lookup.allow_private))
    for position, hook in enumerate(config.broadcast.webhooks):
        urls.append((("broadcast", "webhooks", position), hook.url, hook.allow_private))
    for where, url, allow_private in urls:
        if not allow_private and leads_inside(url):
            yield (
                (*where, "url"),
                "leads into a private network, so nothing is sent: add `allow_private = true` to its table if it may",
            )


def _variable(name: str) -> str:
    return f"{name.upper().replace('-', '_')}_SECRET"
