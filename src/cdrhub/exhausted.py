"""Whether an error says that the machine has run out of something: descriptors, memory, buffers. It passes."""

from __future__ import annotations

import errno
from typing import TypeGuard

_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_exhausted(error: BaseException) -> TypeGuard[OSError]:
    """Whether the same may work in a moment, when others have given back what they hold."""
    return isinstance(error, OSError) and error.errno in _ERRNOS
