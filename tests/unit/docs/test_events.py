"""docs/events.md: every type of event, with an example that the real code makes, and the limits that the code has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cdrhub.broadcast.events import TYPES
from cdrhub.broadcast.posting import REQUEST_SECONDS
from cdrhub.broadcast.render import MAX_BYTES
from cdrhub.broadcast.webhooks import REFUSALS_IN_A_ROW
from cdrhub.redial.announcing import PUBLIC
from cdrhub.store.rows import FOLDED_COLUMNS
from cdrhub.store.tables import calls
from cdrhub.web.live import Limits

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### ([a-z.]+)$.*?^```json\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE))


def test_the_examples_are_what_the_code_makes() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "event_examples.py", "--check"], check=False, capture_output=True
    )
    assert checked.returncode == 0, f"run: .venv/bin/python tools/event_examples.py {checked.stderr.decode()}"


def test_every_type_has_its_row_and_its_example() -> None:
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| (.*?) \|$", TEXT.partition("\n## Types\n")[2], re.MULTILINE))
    assert rows == dict(TYPES)
    assert EXAMPLES.keys() == TYPES.keys()


@pytest.mark.parametrize("kind", TYPES)
def test_an_example_is_a_cloud_event_of_its_type(kind: str) -> None:
    document = json.loads(EXAMPLES[kind])
    assert (document["specversion"], document["type"]) == ("1.0", kind)
    assert document["source"] == f"/cdrhub/{document['data']['source']}"
    assert document["id"]
    assert document["subject"]


def prose_of(kind: str) -> str:
    """What the section of a type says besides its example."""
    section = re.search(rf"^### {re.escape(kind)}$(.*?)^```json$", TEXT, re.DOTALL | re.MULTILINE)
    assert section is not None
    return section[1]


@pytest.mark.parametrize("kind", TYPES)
def test_every_name_in_the_data_of_a_type_is_explained(kind: str) -> None:
    of_all = TEXT.partition("\n## Types\n")[2].partition("\n| type | what became true |")[0]
    explained = set(re.findall(r"`(\w+)`", of_all + prose_of(kind)))
    if kind.startswith("call."):
        explained |= set(calls.columns.keys())  # docs/model.md
    assert json.loads(EXAMPLES[kind])["data"].keys() - explained == set()


def test_the_columns_whose_change_alone_is_not_told() -> None:
    named = set(re.findall(r"`(\w+)`", prose_of("call.corrected"))) - {"changed"}
    assert named == {*FOLDED_COLUMNS, "attributes", "flags"} - {*PUBLIC}


@pytest.mark.parametrize(
    "said",
    [
        f"Answer within {REQUEST_SECONDS:.0f} seconds",
        f"at most {MAX_BYTES // 1000} kB",
        f"after {REFUSALS_IN_A_ROW} in a row",
        f"nothing for {Limits().slow_seconds:.0f} seconds",
        f"A heartbeat every {Limits().heartbeat_seconds:.0f} seconds",
        f"{Limits().readers} readers at once, {Limits().readers_of_one} of one token",
    ],
)
def test_the_limits_are_those_of_the_code(said: str) -> None:
    assert said in " ".join(TEXT.split())
