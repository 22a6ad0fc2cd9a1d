"""Which errors say that the machine has run out of something for the moment."""

from __future__ import annotations

import errno

import pytest

from cdrhub.os_errors import is_exhausted


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_what_others_give_back_passes(code: int) -> None:
    assert is_exhausted(OSError(code, "no more of it"))


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no such file"), OSError("told without a code"), ValueError()])
def test_anything_else_stays(error: Exception) -> None:
    assert not is_exhausted(error)
