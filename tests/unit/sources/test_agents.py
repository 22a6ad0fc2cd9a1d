"""What decoders share to read a state of an agent: any text becomes a storable state or a documented error."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentKind, AgentWord
from cdrhub.model.update import MAX_TEXT, MAX_TIME, MIN_TIME
from cdrhub.sources.agents import agent_state

WORDS = {"Waiting": AgentWord.WAITING}
_TEXT = st.none() | st.text(st.characters(codec=None), max_size=300)


@given(
    agent=_TEXT,
    word=_TEXT | st.just(" Waiting "),
    reason=_TEXT,
    queue=_TEXT,
    sequence=_TEXT | st.integers(0, 10**20).map(str),
    at=st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_any_text_is_storable_or_refused(
    *,
    agent: str | None,
    word: str | None,
    reason: str | None,
    queue: str | None,
    sequence: str | None,
    at: datetime | None,
) -> None:
    try:
        said = agent_state(
            kind=AgentKind.STATE,
            agent=agent,
            word=word,
            words=WORDS,
            at=at,
            reason=reason,
            queue=queue,
            sequence=sequence,
        )
    except DecodeError as error:
        if error.reason is not Reason.MISSING_KEY:
            raise
        return
    for text in (said.agent_id, said.state_raw, said.reason, said.queue):
        if text is not None:
            assert 0 < len(text) <= MAX_TEXT
            assert "\0" not in text
            text.encode()
    assert said.agent_id
    assert said.at is None or MIN_TIME <= said.at < MAX_TIME
    assert said.sequence is None or 0 <= said.sequence < 2**63
    assert ("unmapped_word" in said.flags) == (said.state_raw != "Waiting")


def test_what_was_changed_is_flagged() -> None:
    said = agent_state(
        kind=AgentKind.STATUS,
        agent="a" * 300,
        word="Waiting",
        words=WORDS,
        at=datetime(1960, 1, 1, tzinfo=UTC),
        queue="sa\0les",
    )
    assert (said.flags, said.at, said.queue) == (("text_cut", "text_repaired", "value_dropped"), None, "sales")


@pytest.mark.parametrize(("agent", "word", "missing"), [(None, "Waiting", "his id"), ("7001", " ", "a word for it")])
def test_the_error_names_what_is_missing(agent: str | None, word: str, missing: str) -> None:
    with pytest.raises(DecodeError, match=missing):
        agent_state(kind=AgentKind.STATUS, agent=agent, word=word, words=WORDS, at=None)
