"""Pendulum's pipeline, run once a session, and copies of it to go on from."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.projects import ALONE, SMALL, copy_finished, make_finished

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAFAKEKEYOFATEST",
    "AWS_SECRET_ACCESS_KEY": "fake-secret-of-a-test",
}
"""They are in the environment while the pipeline runs: a test looks where they have got to."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These take longest, so they come first: else one worker would end long after the other.

    The very first are one that makes the finished project, and one that doesn't need it.
    """
    first = ("test_kill.py", "test_pipeline.py")
    here = Path(__file__).parent
    items.sort(key=lambda item: (item.path.name not in first, here not in item.path.parents))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which Pendulum's pipeline has run, and is committed: to be copied, not changed.

    All workers of a session share it. Beside it lies `said`, what dvc said.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # that of the session
    project = base / "finished" / "why? feature%2Fpendulum #1"  # as CI servers name workspaces
    with FileLock(base / "finished.lock"):
        if not project.exists():
            project.mkdir(parents=True)
            with pytest.MonkeyPatch.context() as patch:
                for name, value in CREDENTIALS.items():
                    patch.setenv(name, value)
                said = make_finished(project, ["pendulum"], SMALL | ALONE)
            project.with_name("said").write_text(said)
    assert project.with_name("said").exists(), "it could not be made: another test says why"
    return project


@pytest.fixture(scope="session")
def copy(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Give a function that copies the finished project with its cache and its runs."""

    def copy() -> Path:
        project = tmp_path_factory.mktemp("copied") / finished.name
        copy_finished(finished, project)
        return project

    return copy
