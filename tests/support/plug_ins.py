"""A package that brings a source type along, for a process of a test's own that looks for modules in its folder."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, code: str) -> None:
    """The source type `acme`: `code` defines its SYSTEM."""
    registered = folder / "acme-1.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (registered / "entry_points.txt").write_text("[cdrhub.sources]\nacme = acme:SYSTEM\n")
    (folder / "acme.py").write_text(code)
