"""What an error of the operating system says."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import TypeGuard

_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_exhausted(error: BaseException) -> TypeGuard[OSError]:
    """Whether the machine has run out of something: descriptors, memory, buffers. The same may work in a moment, when
    others have given back what they hold."""
    return isinstance(error, OSError) and error.errno in _ERRNOS


def in_words(error: OSError) -> str:
    """What happened, in the system's words: asyncio puts the address in their place. A resolver and TLS have numbers
    and words of their own."""
    if isinstance(error, socket.gaierror | ssl.SSLError):
        return error.strerror or str(error)
    number = _number(error)
    return os.strerror(number) if number else str(error)


def is_refused(error: BaseException) -> bool:
    """Whether nobody listens where a connection was to go."""
    return isinstance(error, OSError) and _number(error) == errno.ECONNREFUSED


def _number(error: OSError) -> int | None:
    """The number of an error. Where a name has several addresses, as `localhost` may, asyncio tells theirs as text
    only: what they have in common."""
    if error.errno is not None:
        return error.errno
    told = {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    return told.pop() if len(told) == 1 else None
