"""Answers to requests with an Idempotency-Key, kept in the transaction that carried the request out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.store.engine import Database
from cdrhub.store.event_tables import request_keys

AT_ONCE = 1_000  #: rows in one transaction
DIGEST_BYTES = 16
KEPT_DAYS = 3  #: after which the same key is a new request
_UNDER_WAY = 0  #: `status` until the request is answered; no other transaction ever sees it


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The answer to an earlier request."""

    digest: bytes
    status: int
    answer: Any


def digest_of(*parts: bytes) -> bytes:
    """What is compared of two requests with one key."""
    made = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part)
    return made.digest()


async def kept(connection: AsyncConnection, key: str, *, tenant: str) -> Kept | None:
    """The answer that a tenant got for this key."""
    row = (await connection.execute(select(request_keys).where(*_of(key, tenant)))).one_or_none()
    return Kept(digest=row.digest, status=row.status, answer=row.answer) if row is not None else None


async def take(connection: AsyncConnection, key: str, *, tenant: str, digest: bytes, at: datetime) -> None:
    """Take the key for this transaction. Who wants it meanwhile waits for its end and is then refused."""
    await connection.execute(
        insert(request_keys).values(
            tenant=tenant, idempotency_key=key, digest=digest, status=_UNDER_WAY, answer=None, at=at
        )
    )


async def keep(connection: AsyncConnection, key: str, *, tenant: str, status: int, answer: Any) -> None:
    """Keep the answer of a key that this transaction took."""
    await connection.execute(update(request_keys).where(*_of(key, tenant)).values(status=status, answer=answer))


async def forget(database: Database, *, now: datetime) -> None:
    """Forget the answers that are KEPT_DAYS old, in small transactions. Raises StoreUnavailable."""
    old = request_keys.c.at < now - timedelta(days=KEPT_DAYS)
    while True:
        async with database.connect(writing=True) as connection:
            query = select(request_keys.c.idempotency_key).where(old).limit(AT_ONCE)
            keys = (await connection.scalars(query)).all()
            await connection.execute(delete(request_keys).where(request_keys.c.idempotency_key.in_(keys), old))
        if len(keys) < AT_ONCE:
            return


def _of(key: str, tenant: str) -> tuple[Any, Any]:
    return request_keys.c.idempotency_key == key, request_keys.c.tenant == tenant
