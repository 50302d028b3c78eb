"""What the set-up installs is what the project says it needs."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in requirements:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"not pinned: {requirement}"
    return {canonicalize_name(r.name): str(r.specifier)[2:] for r in requirements}


def test_the_lock_satisfies_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = pinned()
    extras = project["optional-dependencies"]
    for line in project["dependencies"] + extras["dev"] + extras["hub"]:
        needed = Requirement(line)
        version = lock.get(canonicalize_name(needed.name))
        assert version is not None, f"requirements.lock lacks {needed.name}"
        assert needed.specifier.contains(version), f"{needed} is locked at {version}"


def test_the_lock_is_portable() -> None:
    """CPU only, from any index: no CUDA, no addresses, no local builds."""
    for name, version in pinned().items():
        assert not name.startswith(("nvidia", "cuda", "triton")), name
        assert "+" not in version, f"{name} {version} exists on no index"
