"""The Event Socket of FreeSWITCH: framing, the client, and the one thread between gevent and asyncio.

- `frames.py`: bytes to frames, pure;
- `commands.py`: what may be sent, and what an answer says, pure;
- `handoff.py`: the bounded buffer between the thread and the event loop;
- `client.py`: greenswitch's client with what it lacks, one connection;
- `link.py`: the two connections to one switch, inside the thread;
- `bridge.py`: that thread, and its face on the event loop;
- `jobs.py`: background jobs and their results, over a bridge that is made when it is needed.

`client.py` and `link.py` import gevent and are imported by the thread alone. Nothing is monkey-patched.
"""
