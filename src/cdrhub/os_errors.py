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
    """Whether the machine has run out of descriptors, memory or buffers. The same call may work in a moment."""
    return isinstance(error, OSError) and error.errno in _ERRNOS


def in_words(error: OSError) -> str:
    """What happened, in the system's words, which asyncio replaces by the address. A resolver and TLS have numbers and
    words of their own."""
    if isinstance(error, socket.gaierror | ssl.SSLError):
        return error.strerror or str(error)
    number = _number(error)
    return os.strerror(number) if number else str(error)


def is_refused(error: BaseException) -> bool:
    """Whether nobody listens where a connection was to go."""
    return isinstance(error, OSError) and _number(error) == errno.ECONNREFUSED


def _number(error: OSError) -> int | None:
    """The number of an error. For a name with several addresses, such as `localhost`, asyncio gives the errors of all
    as text: the number, if it is the same for all."""
    if error.errno is not None:
        return error.errno
    told = {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    return told.pop() if len(told) == 1 else None
