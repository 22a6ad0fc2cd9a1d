"""Values as every engine can store them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from cdrhub.model.update import MAX_TEXT, storable


@given(st.text())
@example("\x01")
@example("\x02 Ade \x03")
@example("x" * (MAX_TEXT - 1) + " y")
def test_a_text_is_stripped_and_says_something_or_is_not_there(text: str) -> None:
    """Control characters go first: what is left beside them may be blanks, or nothing."""
    kept = storable({"caller_name": text}, set()).get("caller_name")
    assert kept is None or (0 < len(kept) <= MAX_TEXT and kept == kept.strip())
