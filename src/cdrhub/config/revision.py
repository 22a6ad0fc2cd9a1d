"""The revision of decode settings: the name under which they are kept, and by which a record remembers them."""

from __future__ import annotations

from hashlib import blake2b

import orjson

from cdrhub.sources.base import DecodeSettings

REVISION_CHARACTERS = 16


def decode_revision(settings: DecodeSettings, *, system: str) -> str:
    """16 hexadecimal digits of BLAKE2b over the system's name and the settings as canonical JSON.

    Equal settings have equal revisions, in every process and for ever; the order of keys does not matter. The
    system is part of it, for the settings of two systems may look alike.
    """
    canonical = orjson.dumps([system, settings.model_dump(mode="json")], option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=REVISION_CHARACTERS // 2).hexdigest()
