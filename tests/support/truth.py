"""The ledger of a simulated system beside a call that was folded from its records."""

from __future__ import annotations

from dataclasses import asdict, fields

from cdrhub.model.call import Call
from cdrhub.sources.simulation.comparison import Difference, Found, compared, people_of
from cdrhub.sources.simulation.ledger import Entry


def differences(entry: Entry, call: Call) -> list[Difference]:
    """What the ledger says differently of `call`."""
    columns = {column.name: getattr(call, column.name) for column in fields(call)}
    return compared(entry, Found(columns=columns, people=people_of(asdict(leg) for leg in call.legs)))
