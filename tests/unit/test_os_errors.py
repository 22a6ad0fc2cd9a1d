"""What errors of the operating system say, and which mean that it has run out of something for the moment."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from cdrhub.os_errors import in_words, is_exhausted, is_refused


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_what_others_give_back_passes(code: int) -> None:
    assert is_exhausted(OSError(code, "no more of it"))


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no such file"), OSError("told without a code"), ValueError()])
def test_anything_else_stays(error: Exception) -> None:
    assert not is_exhausted(error)


V6, V4 = "[Errno 111] Connect call failed ('::1', 1, 0, 0)", "[Errno 111] Connect call failed ('127.0.0.1', 1)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (OSError(f"Multiple exceptions: {V6}, {V4}"), "Connection refused"),
        (OSError(f"Multiple exceptions: {V6}, [Errno 101] none"), f"Multiple exceptions: {V6}, [Errno 101] none"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "wrong version number"), "wrong version number"),
        (OSError("told without a code"), "told without a code"),
    ],
)
def test_an_error_says_what_happened_and_not_where(error: OSError, words: str) -> None:
    assert in_words(error) == words
    assert is_refused(error) == (words == "Connection refused")
