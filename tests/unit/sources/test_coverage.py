"""The ledger's stretches follow each other without a hole, whatever the links do."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.model.inference import Coverage, coverage_inference, decode_inference, encode_inference
from cdrhub.sources.coverage import CoverageLedger
from support.records import raw_record

T0 = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return T0 + timedelta(minutes=minutes)


def test_a_listening_source_is_blind_until_the_phone_system_connects() -> None:
    ledger = CoverageLedger(without_links="blind")
    said = ledger.begin(at(0)) + ledger.link_up("10.0.0.5:4242", at(3)) + ledger.link_down("10.0.0.5:4242", at(9))
    assert [(c.state, c.since, c.until) for c in said] == [
        ("blind", at(0), None),
        ("blind", at(0), at(3)),
        ("connected", at(3), None),
        ("connected", at(3), at(9)),
        ("blind", at(9), None),
    ]


def test_it_stays_connected_while_one_of_two_links_is_up() -> None:
    ledger = CoverageLedger(without_links="blind")
    ledger.begin(at(0))
    ledger.link_up("a", at(1))
    ledger.link_up("b", at(2))
    assert ledger.link_down("a", at(3)) == []
    assert ledger.state == "connected"
    assert ledger.link_down("b", at(4))[-1].state == "blind"


def test_silence_is_quiet_until_a_record_comes() -> None:
    ledger = CoverageLedger(without_links="idle")
    ledger.begin(at(0))
    assert ledger.quiet(at(15), "15 min without a record")[-1].state == "quiet"
    assert ledger.quiet(at(16), "again") == []
    assert ledger.heard(at(20))[-1].state == "idle"
    assert ledger.heard(at(21)) == []


@pytest.mark.parametrize("minutes", [-60, 0])
def test_no_stretch_begins_before_the_one_that_it_ends_or_with_it(minutes: int) -> None:
    """Of two that were told open the later one lasts: blind for ever, if the clock was set back in between."""
    ledger = CoverageLedger(without_links="blind")
    said = ledger.begin(at(0)) + ledger.link_up("pbx", at(minutes))
    then = at(0) + timedelta.resolution
    assert [(c.state, c.since, c.until) for c in said] == [
        ("blind", at(0), None),
        ("blind", at(0), then),
        ("connected", then, None),
    ]


def test_a_clock_that_was_years_ahead_dates_nothing() -> None:
    ledger = CoverageLedger(without_links="blind")
    said = ledger.begin(T0.replace(year=2099)) + ledger.link_up("pbx", T0)
    assert (said[-1].state, said[-1].since) == ("connected", T0)


def test_a_stretch_that_the_clock_was_set_back_in_is_not_told_backwards() -> None:
    told = coverage_inference(Coverage(state="blind", since=at(0), until=at(-60)))
    assert told["until"] == told["since"]


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "quiet", "heard"]), st.sampled_from("ab")), max_size=40))
def test_closed_stretches_are_contiguous(steps: list[tuple[str, str]]) -> None:
    ledger = CoverageLedger(without_links="blind")
    said: list[Coverage] = ledger.begin(at(0))
    for minute, (step, link) in enumerate(steps, start=1):
        match step:
            case "up":
                said += ledger.link_up(link, at(minute))
            case "down":
                said += ledger.link_down(link, at(minute))
            case "quiet":
                said += ledger.quiet(at(minute), "silent")
            case _:
                said += ledger.heard(at(minute))
    said += ledger.end(at(len(steps) + 1), "stopped")
    closed = [c for c in said if c.until is not None]
    for before, after in pairwise(closed):
        assert before.until == after.since
        assert before.state != after.state
    if closed:
        assert closed[0].since == at(0)
    assert said[-1].until is None
    assert said[-1].state == "blind"


def test_what_a_peer_says_that_is_no_unicode_is_told_all_the_same() -> None:
    (said,) = CoverageLedger(without_links="blind").link_up("pbx", at(0), b"caf\xe9".decode(errors="surrogateescape"))
    assert decode_inference(raw_record(encode_inference(coverage_inference(said)))) == Coverage(
        state="connected", since=at(0), until=None, detail="caf?"
    )
