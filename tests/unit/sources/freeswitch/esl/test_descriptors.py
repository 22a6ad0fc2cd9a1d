"""A link that begins when the process has no free descriptor, in a process of its own: libev would end it."""

from __future__ import annotations

from support.processes import python

BEGINS_WITHOUT = """
import asyncio
from cdrhub.errors import NotConnected
from cdrhub.sources.freeswitch.esl import link  # gevent is loaded with it
from cdrhub.sources.freeswitch.esl.bridge import Bridge
from support.descriptors import no_free_descriptor

async def begin():
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 9)  # what looks addresses up is loaded
    bridge = Bridge(host="127.0.0.1", port=9, password="", subscription="", idle_seconds=1)
    with no_free_descriptor():
        try:
            await bridge.start()
        except NotConnected as error:
            print(error)
    print(await bridge.stop())

asyncio.run(begin())
"""


def test_no_descriptor_is_no_link_and_no_end_of_the_process() -> None:
    begun = python(BEGINS_WITHOUT)
    assert begun.stdout.splitlines() == [
        "there is no link to the switch for want of a descriptor: Too many open files",
        "True",
    ], begun.stderr
