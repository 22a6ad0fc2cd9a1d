#!/usr/bin/env python3
"""Writes the tables of docs/configuration.md from the configuration models, whose field descriptions they are.

    .venv/bin/python tools/configuration_tables.py           rewrite the page
    .venv/bin/python tools/configuration_tables.py --check   exit 1 if it is not up to date

Everything outside the two markers is written by hand and stays as it is.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from cdrhub.config import DatabaseConfig, HttpConfig, HubConfig, RetentionConfig, Token
from cdrhub.config.broadcast import BroadcastConfig, WebhookConfig
from cdrhub.config.redial import CaseLookupConfig, RedialConfig
from cdrhub.redial.diallers import dialler_types
from cdrhub.sources.base import SourceConfig
from cdrhub.sources.dialler import DiallerConfig
from cdrhub.sources.registry import names, system
from cdrhub.sources.spans import write_duration

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
HEAD = "| key | default | meaning |\n|---|---|---|\n"


def tables() -> str:
    """All tables, in Markdown."""
    parts = [
        _table("[hub]", "hub.", HubConfig),
        _table("[database]", "database.", DatabaseConfig),
        _table("[http]", "http.", HttpConfig),
        _table("[[http.tokens]]", "http.tokens.", Token),
        _table("[retention]", "retention.", RetentionConfig),
        _table("[redial]", "redial.", RedialConfig),
        _table("[redial.case_lookup]", "redial.case_lookup.", CaseLookupConfig),
        _table("[redial.diallers.&lt;name&gt;]: every dialler", "redial.diallers.<name>.", DiallerConfig),
        _table("[broadcast]", "broadcast.", BroadcastConfig),
        _table("[[broadcast.webhooks]]", "broadcast.webhooks.", WebhookConfig),
        _table("[sources.&lt;name&gt;]: every source", "sources.<name>.", SourceConfig),
    ]
    for name in names():
        model = system(name).config_model
        parts.append(_table(f"Sources of type {name}", "sources.<name>.", model, common=SourceConfig))
    for name, kind in dialler_types().items():
        parts.append(
            _table(f"Diallers of type {name}", "redial.diallers.<name>.", kind.config_model, common=DiallerConfig)
        )
    return "\n".join(parts)


def page_with(written: str, text: str) -> str:
    """`text`, the page, with `written` between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{written}\n{END}{after}"


def _table(heading: str, prefix: str, model: type[BaseModel], *, common: type[BaseModel] | None = None) -> str:
    rows = "".join(f"| `{prefix}{key}` | {default} | {meaning} |\n" for key, default, meaning in _rows(model, common))
    return f"## {heading}\n\n{HEAD}{rows}"


def _rows(model: type[BaseModel], common: type[BaseModel] | None) -> Iterator[tuple[str, str, str]]:
    for key, field in model.model_fields.items():
        known = common.model_fields.get(key) if common is not None else None
        if key == "entries" or (known is not None and _said(known) == _said(field)):
            continue
        yield key, _default(field), _said(field)[1]


def _said(field: FieldInfo) -> tuple[str, str]:
    return _default(field), " ".join((field.description or "").split()).replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is socket.gethostname:
        return "the machine's name"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    match value:
        case None:
            return "–"
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            return f'`"{write_duration(value)}"`'
        case int() | float():
            return f"`{value:.10g}`"
        case tuple():
            return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
        case dict():
            return "`{" + ", ".join(f'{key} = "{item}"' for key, item in value.items()) + "}`"
        case _:
            return '`"' + str(value).replace("|", "\\|") + '"`'


def main() -> int:
    """Rewrite or check the page; the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    new = page_with(tables(), text)
    if "--check" in sys.argv[1:]:
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
