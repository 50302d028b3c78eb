"""Pendulum's pipeline, run once a session, and copies of it to go on from."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from moto.server import ThreadedMotoServer

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
def copy(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Give a function that copies the finished project with its cache and its runs."""

    def copy(name: str = finished.name) -> Path:
        project = tmp_path_factory.mktemp("copied") / name
        copy_finished(finished, project)
        return project

    return copy


@pytest.fixture(scope="session")
def s3() -> Iterator[tuple[str, Any]]:
    """The address of an S3 on loopback with a bucket, `storage`, and a client of it."""
    import boto3

    served = ThreadedMotoServer("127.0.0.1", port=0)
    served.start()
    address = "http://{}:{}".format(*served.get_host_and_port())
    key, secret = CREDENTIALS.values()
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="storage")
    yield address, client
    served.stop()
