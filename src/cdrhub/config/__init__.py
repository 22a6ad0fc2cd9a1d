"""The configuration: a TOML file, read once, checked as a whole (docs/configuration.md)."""

from cdrhub.config.loading import load, parse
from cdrhub.config.model import (
    Config,
    DatabaseConfig,
    HttpConfig,
    HubConfig,
    RetentionConfig,
    Role,
    Token,
    is_loopback,
)
from cdrhub.config.revision import decode_revision

__all__ = [
    "Config",
    "DatabaseConfig",
    "HttpConfig",
    "HubConfig",
    "RetentionConfig",
    "Role",
    "Token",
    "decode_revision",
    "is_loopback",
    "load",
    "parse",
]
