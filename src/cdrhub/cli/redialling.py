"""What the commands of redial share: whose tenant, which case, and orders under the configuration.

Orders work on the database, beside the daemon: an attempt that they decide is dialled by its loop, which asks the rules
once more, and knows what this process cannot see, whether each phone system is heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdrhub.cli.calls import readings as number_readings
from cdrhub.cli.options import known_source
from cdrhub.errors import NotFound, UsageError
from cdrhub.redial.order_errors import AmbiguousCode

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from cdrhub.cli.database import Opened
    from cdrhub.config import Config
    from cdrhub.redial.number_cells import Reading
    from cdrhub.redial.orders import Orders
    from cdrhub.redial.queries import CaseFilter

CodeArgument = Annotated[str, typer.Argument(metavar="CODE", help="The case's code.")]
TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose case, where several tenants have one of that code."),
]
AgentOption = Annotated[str | None, typer.Option("--agent", metavar="ID", help="Only cases of this agent.")]
CampaignOption = Annotated[str | None, typer.Option("--campaign", metavar="NAME", help="Only cases of this campaign.")]


def orders_of(database: Opened, config: Config) -> Orders:
    """Orders under this configuration."""
    from cdrhub.hub.phone_systems import PhoneSystemsOfHub
    from cdrhub.redial.orders import Orders

    systems = PhoneSystemsOfHub(config=lambda: config, sees=lambda _source: True, clock_suspect=())
    return Orders(
        database=database.store.database,
        settings=config.redial.settings(),
        clock=lambda: datetime.now(UTC),
        systems=systems,
    )


def case_named(database: Opened, code: str, tenant: str | None) -> dict[str, Any]:
    """The case of that code, with its numbers. NotFound, UsageError where several tenants have one."""
    from cdrhub.redial import queries

    try:
        return database.read(queries.case_of, code=code, tenant=tenant)
    except AmbiguousCode as error:
        raise UsageError(f"{error} with --tenant NAME") from error


def readings(config: Config) -> dict[str, Reading]:
    """How each source reads numbers, and whose its cases are."""
    from cdrhub.redial.number_cells import Reading

    return {
        name: Reading(
            plan=config.number_plan(name),
            tenant=config.sources[config.owner(name)].tenant,
            into=source.into or "",
        )
        for name, source in config.sources.items()
    }


def one_source(config: Config, given: str | None) -> str:
    """The source that is given, or the only one that there is. NotFound, UsageError."""
    if given is not None:
        known_source(config, given)
        return given
    if len(config.sources) == 1:
        return next(iter(config.sources))
    raise UsageError(f"which source's? give one with --source: there are {', '.join(config.sources) or 'none'}")


def number_keys(config: Config, number: str, *, source: str | None) -> set[str]:
    """What a number may be called in cases: its E.164 to each source, and its digits."""
    from cdrhub.model.numbers import in_ascii_digits

    digits = "".join(character for character in in_ascii_digits(number) if character.isdecimal())
    return {*number_readings(config, number, source=source), digits}


def each_case(database: Opened, wanted: CaseFilter, *, limit: int) -> Iterator[dict[str, Any]]:
    """Cases, the newest first."""
    from cdrhub.redial.queries import listed

    async def page(at: AsyncConnection, last: dict[str, Any] | None, size: int) -> list[dict[str, Any]]:
        return await listed(at, wanted, before=last["id"] if last is not None else None, limit=size)

    return database.paged(page, limit=limit)


def reason_or_found(reason: str | None, *, found: int) -> None:
    """NotFound, with the nearest one, where a list of one reason is empty and no case ever has that reason."""
    from cdrhub.config.problems import nearest
    from cdrhub.redial.wording import REASONS

    if reason is not None and not found and reason not in REASONS:
        raise NotFound(f"no case waits or is paused for {reason!r}{nearest(reason, REASONS)}")
