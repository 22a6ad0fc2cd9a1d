"""A record: one vendor message, the bytes as they came.

A source splits its input until one record is one message that touches at most one call. Body and digest are of
the message after the transport is unwrapped, so the same line over TCP, in a file or inside a forwarder's JSON
is the same record, and one that arrives twice is known by its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from cdrhub.model.immutable import immutable

DIGEST_BYTES = 16
MAX_BODY_BYTES = 16 * 1024 * 1024  #: that a source's limit may allow: drivers of databases take it in one packet

INFERENCE = "application/vnd.cdrhub.inference+json"
"""Content type of what the hub itself concludes (docs/model.md, inferences): a JSON object with deterministic bytes."""


def digest_of(body: bytes) -> bytes:
    """The identity of a message within its source: BLAKE2b of the bytes, 128 bits (RFC 7693)."""
    return blake2b(body, digest_size=DIGEST_BYTES).digest()


@immutable
class RawRecord:
    """One message of one phone system.

    `received_at` is the hub's own clock, aware, UTC. `event_id` is the vendor's id of the event where it has one
    (FreeSWITCH: Core-UUID/Event-Sequence). `attributes` say how it came (`peer`, `path`, `live`), never what it
    says. `config_revision` names the decode settings under which it came, and with which it is decoded for ever.
    """

    source: str
    received_at: datetime
    content_type: str
    body: bytes
    digest: bytes
    config_revision: str
    event_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@immutable
class Revision:
    """The decode settings of a source as they were when its records came: `settings` is the JSON of the settings model
    of `system`, and `revision` the name that their content gives them (`RawRecord.config_revision`)."""

    revision: str
    source: str
    system: str
    settings: str
