"""A Redis list that one worker drains: the lease on it, taking from it, and giving nothing up before it is durable.

**One worker.** Beside a list lies its lease (`<key>:cdrhub:lease`), a key that expires and holds the token of the one
session that may take. Every taking checks the token in the same atomic step in which it takes: a worker that was
paused, cut off or replaced takes nothing more, whatever its clock says. A token is of one session, so that a command
which was underway when its connection broke cannot act in the next one.

**Nothing lost** (`ReliableList`). One script moves entries from the list to `<key>:cdrhub:processing` and returns
them; the next run of the script removes the first `done` of them, once they are durable. What a dead worker left
there is found by the next one in the same way: the script returns what is in that list before it takes more. So
recovery is the ordinary way of working, and an entry is in one of the two lists until it is durable.

**Plainly** (`PlainList`), where a Redis runs no scripts, or the user says so: transactions guarded by WATCH take
entries away; those in hand are lost when the process dies.

Waiting for the next entry takes nothing: LMOVE of a list onto its own end leaves it as it is
(https://valkey.io/commands/lmove/), and BLMOVE blocks until there is one.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import OutOfMemoryError, ResponseError, WatchError

from cdrhub.errors import NotConnected
from cdrhub.sources.transports.redis_client import awaited, in_words, is_unknown, signalled

Side = Literal["right", "left"]

BATCH_ENTRIES: Final = 500  #: taken at once
BATCH_BYTES: Final = 4 * 1024 * 1024  #: after which no further entry is taken at once
PLAIN_ENTRIES: Final = 100  #: taken at once plainly: as many are lost when the process dies
POLL_SECONDS: Final = 0.2  #: between two looks at an empty list of a Redis without BLMOVE, or over `maxmemory`
RENEW_SHARE: Final = 1 / 3  #: of the lease's life after which it is renewed
REPLY_SHARE: Final = 1 / 6  #: of it in which Redis must answer; both together: a lease is given up at half its life

#: Every script writes EXPIRE first: a Redis that is over `maxmemory` refuses a script whose first write may take
#: memory, and would then never be emptied.
_ACQUIRE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[2]) ~= ARGV[2] then return holder end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SETEX', KEYS[1], ARGV[3], ARGV[1])
return false
"""
_RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('LTRIM', KEYS[2], ARGV[2], -1)
return redis.call('DEL', KEYS[1])
"""
_TAKE: Final = """
local lease, list, processing = KEYS[1], KEYS[2], KEYS[3]
local token, seconds, done, side = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local most, most_bytes, longest, foreign = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
if redis.call('GET', lease) ~= token then return false end
redis.call('EXPIRE', lease, seconds)
if done > 0 then redis.call('LTRIM', processing, done, -1) end

local size = 0
local function fits(entry)
  if size > 0 and size + #entry > most_bytes then return false end
  size = size + #entry
  return true
end

local found = redis.call('LRANGE', processing, 0, most - 1)
if #found > 0 then
  local answer = {1, 0}
  for _, entry in ipairs(found) do
    if not fits(entry) then break end
    answer[#answer + 1] = string.sub(entry, 1, longest)
  end
  return answer
end

local function is_foreign(entry)
  if foreign == '' or not string.find(entry, foreign, 1, true) then return false end
  local ok, message = pcall(cjson.decode, entry)
  return ok and type(message) == 'table' and message['type'] == foreign
end

local right = side == 'right'
if right then found = redis.call('LRANGE', list, -most, -1) else found = redis.call('LRANGE', list, 0, most - 1) end
local answer, moved, left, looked = {0, 0}, {}, {}, 0
for number = 1, #found do
  local entry = right and found[#found + 1 - number] or found[number]
  if is_foreign(entry) then
    left[#left + 1] = entry
  else
    if not fits(entry) then break end
    moved[#moved + 1] = entry
    answer[#answer + 1] = string.sub(entry, 1, longest)
  end
  looked = number
end
answer[2] = #left
if #moved == 0 then return answer end
-- With the command that then puts back what is left: where that is not allowed, nothing is taken.
local push = right and 'RPUSH' or 'LPUSH'
for number = 1, #moved do
  redis.call(push, processing, moved[right and number or #moved + 1 - number])
end
if right then redis.call('LTRIM', list, 0, -looked - 1) else redis.call('LTRIM', list, looked, -1) end
for number = #left, 1, -1 do redis.call(push, list, left[number]) end
return answer
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """One session's claim to one list.

    `holder` names this daemon and this source, whatever the session, without a blank: what an earlier session of ours
    still holds is taken over at once, for it is over. `session` is of this one alone.
    """

    key: str
    holder: str
    session: str
    seconds: int

    @property
    def token(self) -> str:
        """What stands in the key."""
        return f"{self.ours}{self.session}"

    @property
    def ours(self) -> str:
        """What the tokens of all our sessions begin with."""
        return f"{self.holder} "


@dataclass(frozen=True, kw_only=True, slots=True)
class Drained:
    """How a list is drained. `foreign` is the JSON `type` of messages that belong to somebody else on the same list
    (empty: none do): they are left where they are. An entry longer than `longest` bytes is returned cut."""

    key: str
    side: Side
    longest: int
    foreign: str = ""

    @property
    def pop(self) -> str:
        """The command that takes one entry."""
        return "RPOP" if self.side == "right" else "LPOP"

    @property
    def push(self) -> str:
        """The command that puts one back."""
        return "RPUSH" if self.side == "right" else "LPUSH"

    @property
    def processing(self) -> str:
        """The list of entries that were taken and are not yet known to be durable."""
        return f"{self.key}:cdrhub:processing"

    @property
    def lease(self) -> str:
        """The key of the lease."""
        return lease_of(self.key)


def lease_of(key: str) -> str:
    """The key of the lease beside a list."""
    return f"{key}:cdrhub:lease"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What one taking gave. When the bodies are durable, `done` is what the next taking (or the release) is told."""

    bodies: Sequence[bytes] = ()
    done: int = 0  #: entries at the head of the processing list that these are
    recovered: bool = False  #: an earlier session took them
    left: int = 0  #: foreign messages that were seen and left


class LeasedList(ABC):
    """A list with its lease. Each method raises a SourceSignal: NotConnected when the link or the lease is lost,
    BackOff when Redis refuses."""

    reliable: ClassVar[bool]
    """Whether entries stay in Redis until they are durable."""

    def __init__(self, client: Redis, *, drained: Drained, lease: Lease) -> None:
        self._client = client
        self._drained = drained
        self._lease = lease
        self._blocks = True  # whether this Redis has BLMOVE, as far as is known

    @abstractmethod
    async def acquire(self) -> str | None:
        """Take the lease; returns None, or who holds it."""

    @abstractmethod
    async def take(self, *, done: int) -> Taken:
        """Renew the lease, forget the first `done` entries of the processing list, take more (or what is still
        there), without waiting."""

    @abstractmethod
    async def renew(self) -> None:
        """Renew the lease."""

    @abstractmethod
    async def release(self, *, done: int) -> None:
        """Forget the first `done` entries of the processing list and give the lease up, if it is still ours."""

    async def wait(self) -> None:
        """Return when the list has entries, or after a third of the lease's life."""
        seconds = self._lease.seconds * RENEW_SHARE
        if self._blocks:
            self._blocks = await self._block(seconds)
        else:
            await asyncio.sleep(min(POLL_SECONDS, seconds))

    async def _block(self, seconds: float) -> bool:
        key, end = self._drained.key, self._drained.side.upper()
        async with self._call(waits=seconds):
            try:
                await self._client.execute_command("BLMOVE", key, key, end, end, seconds)  # type: ignore[no-untyped-call]
            except OutOfMemoryError:  # it waits for nobody then, and is emptied all the same
                await asyncio.sleep(POLL_SECONDS)
            except ResponseError as error:
                if not is_unknown(error):
                    raise
                return False
        return True

    @asynccontextmanager
    async def _call(self, *, waits: float = 0.0) -> AsyncGenerator[None]:
        """Commands in this block are answered in time, or the link is lost."""
        with signalled(self._drained.key):
            async with asyncio.timeout(waits + self._lease.seconds * REPLY_SHARE):
                yield

    def _lost(self) -> NotConnected:
        """What is raised when the lease is not ours any more."""
        return NotConnected(f"the lease on {self._drained.key} is lost: another worker has it, or it expired")


class ScriptsRefused(Exception):
    """This Redis runs no scripts: an old one, or they are forbidden. Only `ReliableList.acquire` raises it."""


def holder_of(token: bytes) -> str:
    """Who holds a lease with this token, in words: its part before the first blank."""
    return token.decode("utf-8", "replace").partition(" ")[0]


class ReliableList(LeasedList):
    """Taking by scripts: an entry is in Redis until it is durable. Redis 2.6 or newer."""

    reliable = True

    def __init__(self, client: Redis, *, drained: Drained, lease: Lease) -> None:
        super().__init__(client, drained=drained, lease=lease)
        self._scripts = {text: client.register_script(text) for text in (_ACQUIRE, _TAKE, _RENEW, _RELEASE)}

    async def _run(self, script: str, *, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        async with self._call():
            return await awaited(self._scripts[script](keys=list(keys), args=list(args)))

    async def acquire(self) -> str | None:
        """See `LeasedList.acquire`. Raises ScriptsRefused where this Redis runs none."""
        lease = self._lease
        async with self._call():
            try:
                holder = await awaited(
                    self._scripts[_ACQUIRE](keys=[lease.key], args=[lease.token, lease.ours, lease.seconds])
                )
            except ResponseError as error:
                if is_unknown(error):
                    raise ScriptsRefused(in_words(error)) from error
                raise
        return None if holder is None else holder_of(holder)

    async def take(self, *, done: int) -> Taken:
        """See `LeasedList.take`."""
        lease, drained = self._lease, self._drained
        answer = await self._run(
            _TAKE,
            keys=(lease.key, drained.key, drained.processing),
            args=(
                lease.token,
                lease.seconds,
                done,
                drained.side,
                BATCH_ENTRIES,
                BATCH_BYTES,
                drained.longest,
                drained.foreign,
            ),
        )
        if answer is None:
            raise self._lost()
        recovered, left, *bodies = answer
        return Taken(bodies=bodies, done=len(bodies), recovered=bool(recovered), left=left)

    async def renew(self) -> None:
        """See `LeasedList.renew`."""
        if not await self._run(_RENEW, keys=(self._lease.key,), args=(self._lease.token, self._lease.seconds)):
            raise self._lost()

    async def release(self, *, done: int) -> None:
        """See `LeasedList.release`."""
        await self._run(_RELEASE, keys=(self._lease.key, self._drained.processing), args=(self._lease.token, done))


class Transaction(Pipeline):
    """A transaction that closes its connection when it is left while watching, which unwatches as well. redis-py's own
    sends UNWATCH, on a new connection if need be, and waits for the answer without limit: on a dead link for ever."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction=True, shard_hint=None)
        self._sent = False
        self.unanswered = False  #: whether EXEC was sent, and nobody knows what came of it

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers to the commands. Raises WatchError, also where the link is lost: then it is `unanswered`."""
        self._sent = True
        try:
            return list(await super().execute(raise_on_error))
        except ResponseError:  # an answer: nothing was carried out
            self.unanswered = False
            raise

    async def reset(self) -> None:  # type: ignore[override]  # two parents of its parent call different things so
        if self.watching and self.connection:
            self.unanswered = self._sent
            await self.connection.disconnect(nowait=True)
            self.watching = False
        await super().reset()  # type: ignore[no-untyped-call]  # redis-py's own


class PlainList(LeasedList):
    """Taking by transactions guarded by WATCH: what was taken is nowhere else. Redis 2.2 or newer."""

    reliable = False

    def __init__(self, client: Redis, *, drained: Drained, lease: Lease) -> None:
        super().__init__(client, drained=drained, lease=lease)
        self._recovering = True  # what a worker that took reliably may have left behind

    async def acquire(self) -> str | None:
        """See `LeasedList.acquire`."""
        lease = self._lease
        async with self._call(), Transaction(self._client) as pipe:
            await pipe.watch(lease.key)
            holder: bytes | None = await awaited(pipe.get(lease.key))
            if holder is not None and not holder.startswith(lease.ours.encode()):
                await pipe.unwatch()  # type: ignore[no-untyped-call]  # redis-py's own
                return holder_of(holder)
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py's own
            pipe.execute_command("SETEX", lease.key, lease.seconds, lease.token)
            try:
                await pipe.execute()
            except WatchError:
                return "another worker"
        return None

    async def take(self, *, done: int) -> Taken:
        """See `LeasedList.take`. What is popped was looked at before. Messages of somebody else are put back in the
        step that pops what stands among them."""
        drained = self._drained
        if self._recovering:
            _, found = await self._guarded(
                ("LTRIM", drained.processing, done, -1), ("LRANGE", drained.processing, 0, PLAIN_ENTRIES - 1)
            )
            if found:
                return Taken(bodies=self._cut(found), done=len(found), recovered=True)
            self._recovering = False
        pipe, entries, foreign = Transaction(self._client), list[bytes](), list[bytes]()
        try:
            async with self._held(pipe):
                entries = await self._next(pipe)
                foreign = [entry for entry in entries if self._is_foreign(entry)]
                commands: list[Sequence[str | bytes]] = [(drained.pop, drained.key)] * len(entries)
                if foreign:
                    await pipe.watch(drained.key)
                    if await self._next(pipe) != entries:  # whose they are reads the list, too
                        return Taken(left=len(foreign))
                    commands.append((drained.push, drained.key, *reversed(foreign)))
                answers = await self._carried_out(pipe, commands)
                entries = [entry for entry in answers[: len(entries)] if entry is not None]
        except NotConnected:
            if not (pipe.unanswered and entries):
                raise
            # Whether they were popped nobody knows. Those that were not are taken again, and known by their bytes.
        return Taken(bodies=self._cut([entry for entry in entries if entry not in foreign]), left=len(foreign))

    async def renew(self) -> None:
        """See `LeasedList.renew`."""
        await self._guarded()

    async def release(self, *, done: int) -> None:
        """See `LeasedList.release`."""
        async with self._call():
            ours = await self._client.get(self._lease.key) == self._lease.token.encode()
        if ours:
            await self._guarded(("LTRIM", self._drained.processing, done, -1), ("DEL", self._lease.key))

    async def _next(self, pipe: Transaction) -> list[bytes]:
        """The entries that are popped next, in that order."""
        if self._drained.side == "left":
            return list(await awaited(pipe.lrange(self._drained.key, 0, PLAIN_ENTRIES - 1)))
        return list(reversed(await awaited(pipe.lrange(self._drained.key, -PLAIN_ENTRIES, -1))))

    async def _guarded(self, *commands: Sequence[str | int | bytes]) -> list[Any]:
        """Renew the lease and carry out `commands`, all or none, only while the lease is ours; their answers."""
        pipe = Transaction(self._client)
        async with self._held(pipe):
            return await self._carried_out(pipe, commands)

    @asynccontextmanager
    async def _held(self, pipe: Transaction) -> AsyncGenerator[None]:
        """`pipe` watches the lease, which is ours."""
        async with self._call(), pipe:
            await pipe.watch(self._lease.key)
            if await awaited(pipe.get(self._lease.key)) != self._lease.token.encode():
                await pipe.unwatch()  # type: ignore[no-untyped-call]  # redis-py's own
                raise self._lost()
            yield

    async def _carried_out(self, pipe: Transaction, commands: Iterable[Sequence[str | int | bytes]]) -> list[Any]:
        """Renew the lease and carry out `commands`, unless something that `pipe` watches has changed."""
        pipe.multi()  # type: ignore[no-untyped-call]  # redis-py's own
        pipe.expire(self._lease.key, self._lease.seconds)
        for command in commands:
            pipe.execute_command(*command)
        try:
            return (await pipe.execute())[1:]
        except WatchError as error:
            if pipe.unanswered:  # the connection broke
                raise
            raise self._lost() from error

    def _is_foreign(self, entry: bytes) -> bool:
        foreign = self._drained.foreign
        if not foreign or foreign.encode() not in entry:
            return False
        try:
            message = json.loads(entry)
        except (ValueError, RecursionError):
            return False
        return isinstance(message, dict) and message.get("type") == foreign

    def _cut(self, entries: Sequence[bytes]) -> list[bytes]:
        return [entry[: self._drained.longest] for entry in entries]
