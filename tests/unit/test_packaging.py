"""What `pip install .` installs is what the source holds now: nothing less, and nothing of an earlier install."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parents[2]
PACKAGED = ("pyproject.toml", "README.md", "LICENSE", "src")


def test_an_install_from_a_folder_that_was_installed_from_has_no_module_that_was_removed(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for name in PACKAGED:
        found = SOURCE / name
        if found.is_dir():
            shutil.copytree(found, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(found, folder / name)
    removed = folder / "src/cdrhub/store/migrations/versions/removed.py"
    removed.write_text("revision = 'removed'\n")
    assert "cdrhub/store/migrations/versions/removed.py" in _wheel(folder, tmp_path / "first")
    removed.unlink()

    installed = _wheel(folder, tmp_path / "second")

    held = {str(file.relative_to(folder / "src")) for file in (folder / "src/cdrhub").rglob("*") if file.is_file()}
    assert {name for name in installed if ".dist-info/" not in name} == held
    assert {file.name for file in folder.iterdir()} == set(PACKAGED)


def _wheel(folder: Path, out: Path) -> set[str]:
    """The names in the wheel that pip would make of `folder`."""
    backend = tomllib.loads((folder / "pyproject.toml").read_text())["build-system"]["build-backend"]
    out.mkdir()
    build = f"import {backend} as backend; backend.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (wheel,) = out.iterdir()
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())
