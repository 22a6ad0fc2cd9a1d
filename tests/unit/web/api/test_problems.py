"""What is told of a request that is not valid."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cdrhub.web.api.problems import invalid
from cdrhub.web.api.shapes import CaseGiven


def test_what_is_not_valid_is_said_in_words_of_json() -> None:
    sent = {"code": "C-1", "source": "lagos", "numbers": ["08039100001"], "metadata": [], "colour": "red"}
    with pytest.raises(ValidationError) as refused:
        CaseGiven.model_validate(sent)
    assert {place.pointer: place.detail for place in invalid(refused.value).errors} == {
        "/numbers/0": "must be an object",
        "/metadata": "must be an object",
        "/colour": "there is nothing of this name; what there is says /api/v1/openapi.json",
    }
