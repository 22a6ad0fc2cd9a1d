"""What an error of the operating system says."""

from __future__ import annotations

import errno
import os
from typing import TypeGuard

_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_exhausted(error: BaseException) -> TypeGuard[OSError]:
    """Whether the machine has run out of something: descriptors, memory, buffers. The same may work in a moment, when
    others have given back what they hold."""
    return isinstance(error, OSError) and error.errno in _ERRNOS


def in_words(error: OSError) -> str:
    """What happened, in the system's words: asyncio puts the address in their place."""
    return os.strerror(error.errno) if error.errno else str(error)
