"""What the set-up installs is what the project says it needs, and it says one thing everywhere."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from world_models.runtime.errors import DISTRIBUTION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in requirements:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"not pinned: {requirement}"
    return {canonicalize_name(r.name): str(r.specifier)[2:] for r in requirements}


def declared() -> Iterator[Requirement]:
    """All that the project needs, but for its own extras, which an extra may be made of."""
    extras = PROJECT["optional-dependencies"]
    for line in sum(extras.values(), PROJECT["dependencies"]):
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            assert requirement.extras <= set(extras)
        else:
            yield requirement


def test_the_lock_satisfies_pyproject() -> None:
    lock = pinned()
    for needed in declared():
        version = lock.get(canonicalize_name(needed.name))
        assert version is not None, f"requirements.lock lacks {needed.name}"
        assert needed.specifier.contains(version), f"{needed} is locked at {version}"


def test_the_lock_is_portable() -> None:
    """CPU only, from any index: no CUDA, no addresses, no local builds."""
    for name, version in pinned().items():
        assert not name.startswith(("nvidia", "cuda", "triton")), name
        assert "+" not in version, f"{name} {version} exists on no index"


def test_all_is_what_serves_a_user() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all", "docs", "test", "dev"}


def test_name_and_version_are_the_same_everywhere() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\S+)", changes, re.M)[0] == PROJECT["version"]
    install = re.findall(r"pip install '?(world[\w-]+)", (ROOT / "README.md").read_text())
    assert set(install) == {DISTRIBUTION}
