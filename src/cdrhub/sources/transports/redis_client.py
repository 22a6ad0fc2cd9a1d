"""A client of one Redis: its URL, its connections, and what goes wrong with it as a signal to the runner."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
    WatchError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cdrhub.errors import BackOff, NotConnected

REFUSED_SECONDS: Final = 60.0  #: until a Redis that refused us is asked again
MAX_ERROR: Final = 200  #: characters of what Redis says
_DATABASE: Final = re.compile(r"/?[0-9]*")

# What passes by itself: a Redis that became the replica of another one (the link comes back soon, perhaps to the new
# master), or whose cluster is being repaired.
_PASSES: Final = (ReadOnlyError, MasterDownError, TryAgainError, ClusterDownError)
#: How the answers begin of a Redis that became a replica while we waited for an entry, that runs somebody's script, or
#: whose replicas are away.
_PASSES_AS_WELL: Final = ("UNBLOCKED ", "BUSY ", "NOREPLICAS ")


def is_redis_url(url: str) -> bool:
    """Whether `connected` takes this URL and understands all of it. redis-py takes the beginning of a password that
    holds `#` or `/` for the port, and a database that is no number for 0."""
    try:
        parts = urlsplit(url)
        _pool(url).make_connection()  # type: ignore[no-untyped-call]  # it knows each option; nothing is sent yet
    except (ValueError, TypeError, RedisError):
        return False
    by_socket = parts.scheme == "unix"
    return not parts.fragment and (by_socket or bool(parts.hostname and _DATABASE.fullmatch(parts.path)))


def place_of(url: str) -> str:
    """The database that a URL which `connected` takes leads to, without user and password."""
    said = parse_url(url)
    return f"{said.get('path') or said.get('host')}:{said.get('port', 6379)}/{said.get('db', 0)}"


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Redis]:
    """A client of the Redis at `url` (redis://, rediss://, unix://; https://www.iana.org/assignments/uri-schemes).

    It connects when it is first used and sends nothing twice: a command that was sent and not answered may have been
    carried out. RESP2, so that old servers understand it.
    """
    client = Redis(connection_pool=_pool(url))
    try:
        yield client
    finally:
        await client.connection_pool.disconnect()


class _TellsLoss(AbstractConnection):
    """One of redis-py's connections, which reports a lost link as lost. Writing to a link that was just lost raises an
    AttributeError or a TypeError in asyncio of Python 3.12 and of early 3.13
    (https://github.com/python/cpython/issues/136234)."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except (AttributeError, TypeError) as error:
            raise RedisConnectionError("the link was lost") from error


class _Plain(_TellsLoss, Connection):
    """redis://"""


class _Encrypted(_TellsLoss, SSLConnection):
    """rediss://"""


class _Local(_TellsLoss, UnixDomainSocketConnection):
    """unix://"""


_TELLING_LOSS = {Connection: _Plain, SSLConnection: _Encrypted, UnixDomainSocketConnection: _Local}


def _pool(url: str) -> ConnectionPool:
    options: dict[str, Any] = dict(parse_url(url))
    options |= {
        "decode_responses": False,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,  # each call has its own: see `_Link`
        "socket_connect_timeout": None,
        "socket_keepalive": True,
    }
    if url.startswith("unix:"):
        del options["socket_keepalive"]
    options["connection_class"] = _TELLING_LOSS[options.get("connection_class", Connection)]
    return ConnectionPool(**options)


@contextmanager
def signalled(key: str = "") -> Iterator[None]:
    """Raise what goes wrong with Redis as a signal to the runner: NotConnected for a link that is lost, BackOff for a
    Redis that refuses us (the password, a right, a key that is no list) and needs a person. `key` is the list that the
    message names."""
    of = f" ({key})" if key else ""
    try:
        yield
    except (AuthenticationError, AuthorizationError) as error:
        raise BackOff(REFUSED_SECONDS, f"Redis refuses us: {in_words(error)}") from error
    except NoPermissionError as error:
        raise BackOff(REFUSED_SECONDS, f"Redis refuses us: {in_words(error)}{of}") from error
    except (AskError, ClusterCrossSlotError) as error:  # MOVED is an ASK to redis-py, and its words are a number only
        said = f"this Redis is a node of a cluster, which keeps a list and the keys beside it apart: {in_words(error)}"
        raise BackOff(REFUSED_SECONDS, said) from error
    except (RedisConnectionError, RedisTimeoutError, *_PASSES, WatchError) as error:  # the last: while watching
        raise NotConnected(f"Redis: {in_words(error)}") from error
    except (RedisError, ValueError) as error:
        if str(error).startswith(_PASSES_AS_WELL):
            raise NotConnected(f"Redis: {in_words(error)}") from error
        raise BackOff(REFUSED_SECONDS, f"Redis: {in_words(error)}{of}") from error
    except TimeoutError as error:
        raise NotConnected("Redis does not answer in time") from error
    except OSError as error:
        raise NotConnected(f"Redis: {in_words(error)}") from error


def in_words(error: BaseException) -> str:
    """What Redis, or the way to it, said."""
    return (str(error) or type(error).__name__)[:MAX_ERROR]


def is_unknown(error: ResponseError) -> bool:
    """Whether this Redis does not know the command, or does not let us use it."""
    return isinstance(error, NoPermissionError) or str(error).lower().startswith("unknown command")


async def awaited(reply: Any) -> Any:
    """redis-py types the replies of its two clients as one union."""
    return await reply
