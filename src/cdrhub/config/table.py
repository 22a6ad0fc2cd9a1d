"""What every table of the configuration is: a frozen model that knows its keys and hides its values in errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MAX_NAME = 63  #: characters of the name of a source, a dialler, a webhook or a token
NAME_PATTERN = rf"^[a-z0-9][a-z0-9_-]{{0,{MAX_NAME - 1}}}$"


class Table(BaseModel):
    """A table of the file: unknown keys are errors, nothing changes after loading, no error shows its input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
