"""Environments that hold this package's wheel and what its metadata asks for, made offline."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Collection
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def build_wheel(folder: Path, page: Path | None = None) -> Path:
    """Builds it, with a built page if there is one, from a copy: a build leaves files behind, and
    would pack those of one before."""
    copy = folder / "copy"
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__", "node_modules", "static")
    shutil.copytree(ROOT / "src", copy / "src", ignore=left_out)
    if page:
        shutil.copytree(page, copy / "src" / "world_models" / "play" / "static")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run([*PIP, "wheel", *offline, "--wheel-dir", folder, copy], check=True)
    return next(folder.glob("*.whl"))


def make_environment(folder: Path, wheel: Path, extras: Collection[str] = ()) -> Path:
    """Makes one, whose libraries are links to those that are installed here; returns its Python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    (own,) = distributions(path=[str(wheel)])
    for library in needed(own, extras):
        for name in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists() and not name.endswith(".pth"):
                (site / name).symlink_to(library.locate_file(name))
    install = ("--python", python, "install", "--no-index", "--no-deps", wheel)
    subprocess.run([*PIP, *install], check=True)
    return python


def needed(own: Distribution, extras: Collection[str]) -> list[Distribution]:
    """All that a distribution needs here, as it says, and as those say that it needs."""
    seen: set[tuple[str, frozenset[str]]] = set()
    found, left = [], [(own, frozenset(extras))]
    while left:
        at, extras = left.pop()
        for requirement in map(Requirement, at.requires or ()):
            marker, key = requirement.marker, (requirement.name, frozenset(requirement.extras))
            asked = not marker or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})
            if asked and key not in seen:
                seen.add(key)
                found.append(distribution(requirement.name))
                left.append((found[-1], key[1]))
    return found
