"""`make repro` where a user has less than is usual."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.projects import ROOT, commit, dvc, init
from tests.users import AS_NAMELESS, can_be_nameless, give_away

STAGE = """
stages:
  write:
    cmd: python -c 'import pipelines, world_models' && touch written
    outs: [written]
"""


@pytest.fixture
def project():
    """A small project with the product's Makefile and code, and this Python for its .venv."""
    with TemporaryDirectory() as folder:  # pytest's own are closed to other users
        project = Path(folder, "project")
        project.mkdir()
        (project / "dvc.yaml").write_text(STAGE)
        for file in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / file, project)
        (project / ".venv").mkdir()
        environment = [part for part in Path(sys.prefix).iterdir() if part.name != ".ready"]
        for part in (ROOT / "pipelines", ROOT / "src"):
            (project / part.name).symlink_to(part)
        for part in environment:
            (project / ".venv" / part.name).symlink_to(part)
        (project / ".venv" / ".ready").touch()
        init(project)
        dvc(project, "config", "core.site_cache_dir", f"{folder}/site")
        commit(project, "Begin")
        yield project


@pytest.mark.skipif(not can_be_nameless(), reason="root alone can act as another user")
def test_a_user_needs_neither_a_name_nor_a_home(project):
    give_away(project.parent)
    command = [*AS_NAMELESS, *("env", "-i", "PATH=/usr/bin:/bin", "HOME=/nonexistent")]
    done = subprocess.run(
        [*command, "make", "repro"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (project / "written").exists()
