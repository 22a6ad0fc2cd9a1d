"""The parties of a 3CX line: who is from, to, final, and who stands between them in the chain.

What a party is, is said by its type word; by the pseudo numbers `EndCall`, `MakeCall`, `PickupExt.…`; by the
source's directory; else `Ext.` means a person. A 20-column record has no type words: it does not say that
`Ext.611` is a queue, which the directory can.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from cdrhub.model.update import MAX_TEXT
from cdrhub.sources.base import DirectoryEntry
from cdrhub.sources.threecx.words import NAMELESS_TYPES, Kind, kind_of

CHAIN_PREFIX = "Chain:"
MAX_PARTIES = 64  #: of a chain or a list of missed queue calls; what is more is cut and flagged `legs_cut`
INSIDE_PREFIX = "Ext."

_CACHED_PARTIES = 4_096  #: extensions, trunks and queues come again and again; outside numbers, mostly, do not
_TRUNK_DN = re.compile(r"10\d{3}")
"""3CX numbers its trunks from 10000; without numbers and types nothing else tells a trunk from an extension."""

_ENTRY_KINDS: Mapping[str, Kind] = {
    "person": Kind.PERSON,
    "queue": Kind.QUEUE,
    "ivr": Kind.IVR,
    "voicemail": Kind.VOICEMAIL,
    "conference": Kind.CONFERENCE,
}


class Party(NamedTuple):
    """One party of a line."""

    kind: Kind
    number: str  #: as sent
    dn: str  #: the inside number without `Ext.`, or the trunk
    sure: bool = True  #: False where `Ext.` alone says that it is a person
    unmapped: str = ""  #: a type word never seen
    name: str = ""  #: of the directory
    team: str = ""
    agent: str = ""

    @property
    def named(self) -> str:
        """What the party is called when no display name is sent."""
        return self.name or self.dn


NOBODY = Party(Kind.NOBODY, "", "")


class Directory:
    """Says what a party is, from the line's words and the source's directory file."""

    def __init__(self, entries: Sequence[DirectoryEntry], *, extensions: str) -> None:
        self._entries = {entry.number: entry for entry in entries}
        self._inside = re.compile(extensions)
        self._party = lru_cache(maxsize=_CACHED_PARTIES)(self._read_party)

    def party(self, type_word: str, number: str, dn: str) -> Party:
        """The party of `from-*`, `to-*` or `final-*`."""
        if len(number) + len(dn) + len(type_word) > MAX_TEXT:
            return self._read_party(type_word[:MAX_TEXT], number[:MAX_TEXT], dn[:MAX_TEXT])
        return self._party(type_word, number, dn)

    def dialled(self, dial_no: str) -> Party:
        """The called party of a line that names none: what was dialled."""
        text = dial_no[:MAX_TEXT]
        if not text:
            return NOBODY
        if text in self._entries or self._inside.fullmatch(text) or text.startswith(INSIDE_PREFIX):
            return self.party("", INSIDE_PREFIX + text.removeprefix(INSIDE_PREFIX), "")._replace(number=text)
        return Party(Kind.OUTSIDE, text, "")

    def origin(self, from_dn: str) -> Party:
        """The calling party of a line without from-no and from-type: a trunk or an extension."""
        dn = from_dn[:MAX_TEXT]
        if not dn:
            return NOBODY
        if dn not in self._entries and _TRUNK_DN.fullmatch(dn):
            return Party(Kind.OUTSIDE, "", dn, sure=False)
        return self.party("", INSIDE_PREFIX + dn, dn)._replace(number=dn)

    def reached(self, to_dn: str, dial_no: str) -> Party:
        """The called party of a line without to-no and to-type: a number outside, by a trunk or, where it failed, as
        dialled, or somebody inside."""
        trunk = to_dn not in self._entries and _TRUNK_DN.fullmatch(to_dn)
        if (trunk or to_dn == dial_no) and self.is_outside(dial_no):
            return Party(Kind.OUTSIDE, dial_no[:MAX_TEXT], to_dn, sure=False)
        return self.party("", "", to_dn)

    def is_outside(self, dial_no: str) -> bool:
        """Whether what was dialled is an outside number."""
        return self.dialled(dial_no).kind is Kind.OUTSIDE and any(map(str.isdigit, dial_no))

    def between(self, chain: str, *, known: Sequence[Party]) -> tuple[list[Party], bool]:
        """The parties of a chain other than the first (the caller) and the `known` ones, in order; and whether some
        were cut off."""
        names = [name.strip() for name in chain.removeprefix(CHAIN_PREFIX).replace(",", ";").split(";")]
        said = {party.number for party in known} | {INSIDE_PREFIX + party.dn for party in known}
        found: list[Party] = []
        for name in names[1:]:
            if name and name not in said:
                if len(found) == MAX_PARTIES:
                    return found, True
                said.add(name)
                found.append(self.party("", name, ""))
        return found, False

    def _read_party(self, type_word: str, number: str, dn: str) -> Party:
        kind = kind_of(type_word) if type_word else None
        unmapped = type_word if type_word and kind is None and type_word.lower() not in NAMELESS_TYPES else ""
        if not number and not dn:
            return Party(kind or Kind.NOBODY, "", "", unmapped=unmapped)
        inside = number.startswith(INSIDE_PREFIX) or not number
        bare = number.removeprefix(INSIDE_PREFIX) or dn
        if (pseudo := _pseudo(number)) is not None:
            return Party(pseudo, number, dn or bare, unmapped=unmapped)
        entry = None if kind is Kind.OUTSIDE or not (inside or kind) else self._entries.get(bare)
        sure = True
        if kind is None:
            if entry is not None:
                kind = _ENTRY_KINDS[entry.kind]
            elif not inside:
                kind = Kind.OUTSIDE
            elif dn and dn != bare and dn.isdigit() and bare.isdigit():
                kind = Kind.VOICEMAIL  # `Ext.999`, the voice mail's number, with the extension called as its DN
            else:
                kind, sure = Kind.PERSON, False
        if entry is None:
            return Party(kind, number, dn or bare, sure, unmapped)
        return Party(kind, number, dn or bare, sure, unmapped, entry.name, entry.team, entry.agent)


def _pseudo(number: str) -> Kind | None:
    word = number.lower()
    if word == "endcall":
        return Kind.IVR
    if word == "makecall":
        return Kind.CLICK
    if word.startswith("pickupext"):
        return Kind.PICKUP
    return None


def missed_agents(missed: str) -> tuple[list[str], bool]:
    """The DNs of missed-queue-calls, one per poll in order; and whether some were cut off."""
    agents = [name.strip().removeprefix(INSIDE_PREFIX) for name in missed.split(";")]
    agents = [agent for agent in agents if agent]
    return agents[:MAX_PARTIES], len(agents) > MAX_PARTIES
