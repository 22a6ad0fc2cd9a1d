"""The sender of a simulated 3CX: a client that behaves like its active socket.

It connects, holds the connection and writes one record per line with CR LF, as captures of real PBXs show.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cdrhub.sources.simulation.dialled import Ordering, also_taking_orders
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Due, Simulation
from cdrhub.sources.threecx.simulate.callcontrol import PATH, CallControl
from cdrhub.sources.threecx.simulate.lines import PBX, Line

RECONNECT_SECONDS: Final = 0.4  #: a real PBX is back this long after its peer closed


async def simulate(
    simulation: Simulation,
    pbx: PBX,
    *,
    host: str,
    port: int,
    trouble: Callable[[OSError | None], None] = lambda _: None,
    wait: bool = True,
    ordering: Ordering | None = None,
) -> None:
    """Write the lines of `simulation` to a listening hub over one held connection, until it is over. With `ordering`
    the Call Control API is there as long as the centre works, and the lines of calls that are ordered come as well.

    Comes back RECONNECT_SECONDS after the hub closed; what was being written then is lost, as on a real PBX, and what
    comes due meanwhile is written afterwards. `trouble` is told why there is no connection (None: the hub closed it).
    Unless it is to `wait` for a hub that was never there, OSError where the first connection cannot be made.
    """
    sent, line = simulation.sent, _Connection(host, port, trouble, wait=wait)

    async def send(due: Due[Line]) -> bool:
        for item in pbx.written(due):
            if not await line.write(item.what.body, simulation.pace):
                return False
            sent.records += 1
            sent.repeated += item.what.repeated
            sent.broken += item.what.broken
            simulation.settle(item)
        return True

    try:
        if not await line.write(b"", simulation.pace):  # a real one connects before it has anything to say
            return
        async with also_taking_orders(
            simulation,
            _at_root(ordering),
            path=PATH,
            handler=lambda ordered: CallControl(ordered).handle,
            render=pbx.render,
            send=send,
        ):
            async for due in simulation.play(pbx.render):
                if not await send(due):
                    return
    finally:
        sent.last_error = line.last_error
        await line.close()


def _at_root(ordering: Ordering | None) -> Ordering | None:
    """`ordering` whose address is told without PATH, which stands for every path."""
    if ordering is None:
        return None
    return replace(ordering, ready=lambda address: ordering.ready(address.removesuffix(PATH)))


class _Connection:
    """The connection to the hub, made again as often as it breaks."""

    def __init__(self, host: str, port: int, trouble: Callable[[OSError | None], None], *, wait: bool) -> None:
        self._host, self._port = host, port
        self._trouble = trouble
        self._try_again = wait  #: always, once there was a connection
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.last_error = ""

    async def write(self, body: bytes, pace: Pace) -> bool:
        """Write `body`; False where that was impossible until the simulation was to finish."""
        async with self._turn:
            return await self._written(body, pace)

    async def _written(self, body: bytes, pace: Pace) -> bool:
        while True:
            if self._streams is not None and self._streams[0].at_eof():
                self._told(None)
                await self.close()
                await asyncio.sleep(RECONNECT_SECONDS)
            try:
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                    self._try_again = True
                self._streams[1].write(body)
                await self._streams[1].drain()
            except OSError as error:
                if not self._try_again:
                    raise
                self._told(error)
                await self.close()
                if pace.finishing:
                    return False
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return True

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _told(self, error: OSError | None) -> None:
        self.last_error = "the hub closed the connection" if error is None else str(error)
        self._trouble(error)
