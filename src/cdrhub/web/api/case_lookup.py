"""`[redial.case_lookup]`: a case that an order names and nobody knows is asked for at the CRM, by URL.

The CRM answers with the case as `PUT /cases/{code}` takes it, or with 404. The code stands in the URL as one part of a
path or a query, whatever characters it has. Redirects are not followed, and nothing is asked at a private address
unless that is allowed.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import orjson
import structlog
from aiohttp import hdrs
from pydantic import ValidationError
from yarl import URL

from cdrhub.config.redial import CODE, TENANT, CaseLookupConfig
from cdrhub.redial.given import GivenCase
from cdrhub.sources.dialling.answers import AnswerUnseen, OrderRefused
from cdrhub.sources.dialling.http import HttpClient
from cdrhub.web.api.cases import given_case
from cdrhub.web.api.operation import JSON, Asked
from cdrhub.web.api.problems import Kind, Refused
from cdrhub.web.api.shapes import CaseChange

log = structlog.get_logger(__name__)

AT_ONCE = 16  #: questions under way; one more waits
NOT_THERE = frozenset({404, 410})


class CaseLookup:
    """Asks the CRM. One for the life of an application; `close` at its end."""

    def __init__(self) -> None:
        self._clients: list[tuple[CaseLookupConfig, HttpClient]] = []
        self._room = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        for _, client in self._clients:
            await client.close()

    async def ask(self, asked: Asked, *, code: str) -> GivenCase | None:
        """The case of that code; None where no CRM is configured or it knows none. Raises Refused where it cannot be
        asked or its answer is no case."""
        config = asked.served.config.redial.case_lookup
        if config is None:
            return None
        url = config.url.replace(CODE, quote(code, safe="")).replace(TENANT, quote(asked.tenant or "", safe=""))
        headers = {hdrs.ACCEPT: JSON} | {name: value.get_secret_value() for name, value in config.headers.items()}
        try:
            async with self._room:
                answer = await self._client_of(config).send("GET", URL(url, encoded=True), headers=headers)
        except (OrderRefused, AnswerUnseen) as error:
            raise _failed("the CRM could not be asked", why=str(error)) from error
        if answer.status in NOT_THERE:
            return None
        if answer.status != 200:
            raise _failed(f"the CRM answered HTTP {answer.status}")
        return _case(answer.body, asked, code=code)

    def _client_of(self, config: CaseLookupConfig) -> HttpClient:
        """Its client. That of a configuration before a reload stays, for somebody may wait for its answer: it holds no
        connection otherwise."""
        known = next((client for its, client in self._clients if its == config), None)
        if known is None:
            known = HttpClient(who="the CRM", seconds=config.timeout_seconds, public_only=not config.allow_private)
            self._clients.append((config, known))
        return known


def _case(body: bytes, asked: Asked, *, code: str) -> GivenCase:
    try:
        change = CaseChange.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise _failed("the CRM answered with what is not JSON") from error
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])[:100]
        raise _failed(f"the CRM answered with no case: look at {place or 'the beginning'}") from error
    try:
        tenant = asked.tenant_of(change.source, pointer="/source")
    except Refused as error:
        raise _failed("the CRM answered with a source that is not there") from error
    return given_case(code, change, tenant=tenant)


def _failed(said: str, *, why: str = "") -> Refused:
    """The problem that is answered. Where the CRM is, only the log says."""
    log.warning("a case could not be looked up", action="case_lookup_failed", why=why or said)
    return Refused(Kind.LOOKUP_FAILED, said)
