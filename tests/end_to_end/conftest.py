"""Pendulum's pipeline, run once a session, and copies of it to go on from."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from tests.projects import make_finished

CHANGES = {
    "machine": {"workers": 1},  # a process of their own costs each stage seconds
    # Small, with work enough in each stage to be killed in the middle of it.
    "smoke.pendulum.collect": {"shard_episodes": 1},
    "smoke.pendulum.controller": {"generations": 4},
    "smoke.pendulum.evaluate": {"episodes": 10, "lanes": 2},  # the gate wants 10
}
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
    project = base / "finished" / "a project"
    with FileLock(base / "finished.lock"):
        if not project.exists():
            project.mkdir(parents=True)
            with pytest.MonkeyPatch.context() as patch:
                for name, value in CREDENTIALS.items():
                    patch.setenv(name, value)
                said = make_finished(project, ["pendulum"], CHANGES)
            project.with_name("said").write_text(said)
    assert project.with_name("said").exists(), "it could not be made: another test says why"
    return project


@pytest.fixture(scope="session")
def copy(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Give a function that copies the finished project with its cache and its runs."""

    def copy() -> Path:
        project = tmp_path_factory.mktemp("copied") / finished.name
        ignored = shutil.ignore_patterns(".state")  # it belongs to runs that end here
        shutil.copytree(finished, project, ignore=ignored, copy_function=copy_or_link)
        move_store(project / "mlflow.db", str(finished), str(project))
        return project

    return copy


def copy_or_link(source: str, target: str) -> None:
    """What nobody writes to, in DVC's cache and among MLflow's artifacts, needs no second copy."""
    if {"cache", "mlartifacts"} & set(Path(source).parts):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def move_store(database: Path, was: str, now: str) -> None:
    """Tells MLflow that its artifacts lie elsewhere: it keeps their full paths."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in text_columns(connection):
            connection.execute(
                f"update {table} set {column} = replace({column}, ?, ?) where instr({column}, ?)",
                (was, now, was),
            )


def text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Each column that holds text, with its table."""
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f"pragma table_info({table})"):
            if kind.upper().startswith(("VARCHAR", "TEXT")):
                yield table, column
