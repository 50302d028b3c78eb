"""Data and models travel through a remote whole, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import projects
from tests.end_to_end.conftest import CREDENTIALS

KEY, SECRET = CREDENTIALS.values()
STAGES = """
stages:
  vae:
    cmd: echo ran >> ../ran && mkdir data && echo 1 > data/1 && seq 9999 > vae
    outs: [vae, data]
  rnn:
    cmd: echo ran >> ../ran && cat vae data/1 > rnn
    deps: [vae, data]
    outs: [rnn]
"""


@pytest.fixture(scope="module", autouse=True)
def offline():
    """Who looks for credentials asks nobody on the net."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def run(folder, *command, expected=0):
    done = projects.run(folder, *command, expected=expected)
    return done.stdout + done.stderr


def dvc(folder, *arguments, expected=0):
    return run(folder, *projects.DVC, *arguments, expected=expected)


class Shared(NamedTuple):
    """A project of two stages, pushed to a remote."""

    project: Path
    log: str
    """What its commands have said."""
    read: Callable[[], bytes]
    """Reads the remote's object of `vae`."""
    write: Callable[[bytes], object]
    """Writes it."""


@pytest.fixture(scope="module", params=["s3", "folder"])
def shared(request, tmp_path_factory):
    """One whose remote is of this kind."""
    folder = tmp_path_factory.mktemp("shared")
    project = folder / "project"
    project.mkdir()
    projects.init(project)
    (project / ".dvc" / "config").write_text((projects.ROOT / ".dvc" / "config").read_text())
    (project / "dvc.yaml").write_text(STAGES)
    if request.param == "s3":
        address, client = request.getfixturevalue("s3")
        dvc(project, "remote", "add", "-d", "storage", f"s3://storage/{folder.name}")
        dvc(project, "remote", "modify", "storage", "endpointurl", address)
        dvc(project, "remote", "modify", "storage", "verify", "true")
        for option, value in {"access_key_id": KEY, "secret_access_key": SECRET}.items():
            dvc(project, "remote", "modify", "--local", "storage", option, value)
    else:
        dvc(project, "remote", "add", "-d", "storage", str(folder / "storage"))
    log = dvc(project, "repro") + dvc(project, "push", "--verbose")
    projects.commit(project, "Begin")
    md5 = run(project, "md5sum", "vae").split()[0]
    name = f"files/md5/{md5[:2]}/{md5[2:]}"
    if request.param == "s3":
        at = {"Bucket": "storage", "Key": f"{folder.name}/{name}"}
        return Shared(
            project,
            log,
            lambda: client.get_object(**at)["Body"].read(),
            lambda body: client.put_object(**at, Body=body),
        )
    path = folder / "storage" / name

    def write(body):
        path.unlink(missing_ok=True)  # DVC forbids to write to it
        path.write_bytes(body)

    return Shared(project, log, path.read_bytes, write)


@pytest.fixture
def clone(shared, tmp_path):
    """A fresh clone of it that knows the remote."""
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(shared.project), str(clone))
    local = shared.project / ".dvc" / "config.local"
    if local.exists():
        (clone / ".dvc" / "config.local").write_text(local.read_text())
    return clone


def test_a_fresh_clone_trains_nothing_and_has_equal_files(shared, clone):
    dvc(clone, "repro", "--pull")
    assert (shared.project.parent / "ran").exists()
    assert not (clone.parent / "ran").exists()
    for name in ("vae", "rnn", "data/1"):
        assert (clone / name).read_bytes() == (shared.project / name).read_bytes()


@pytest.mark.parametrize(
    "how",
    [lambda body: body[:100] + b"X" + body[101:], lambda body: body[:1000]],
    ids=["flipped", "cut"],
)
def test_a_damaged_object_of_the_remote_is_named_and_not_taken(shared, clone, how):
    whole = shared.read()
    shared.write(how(whole))
    said = dvc(clone, "pull", expected=1)
    shared.write(whole)
    assert "vae" in said.split("Checkout failed for following targets:")[1]
    assert not (clone / "vae").exists()


def test_credentials_are_in_no_commit_and_no_log(shared, clone):
    log = shared.log + dvc(clone, "pull", "--verbose")
    log += run(shared.project, "git", "log", "--all", "--patch")
    for secret in (KEY, SECRET):
        assert secret not in log
        for folder in (shared.project, clone):
            files = [path for path in folder.rglob("*") if path.is_file()]
            holding = {path.name for path in files if secret.encode() in path.read_bytes()}
            assert holding <= {"config.local"}


@pytest.fixture(scope="module")
def pipeline(s3, finished, copy, tmp_path_factory):
    """Pendulum's pipeline and its clone, which pulled it; the credentials in the environment."""
    project, folder = copy(), tmp_path_factory.mktemp("pipeline")
    clone = folder / "clone"
    address, _ = s3
    dvc(project, "remote", "add", "-d", "storage", "s3://storage/pendulum")
    dvc(project, "remote", "modify", "storage", "endpointurl", address)
    projects.commit(project, "There is a remote")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        log = finished.with_name("said").read_text() + dvc(project, "push", "--verbose")
        run(folder, "git", "clone", "--quiet", str(project), str(clone))
        pulled = dvc(clone, "repro", "--pull")
    return project, clone, log, pulled


def test_credentials_of_the_environment_are_not_in_mlflow_nor_anywhere(pipeline):
    project, clone, log, pulled = pipeline
    assert (project / "mlflow.db").is_file()
    assert list((project / "mlartifacts").rglob("*.safetensors"))
    log += pulled + run(project, "git", "log", "--all", "--patch")
    for secret in (KEY, SECRET):
        assert secret not in log
        for folder in (project, clone):
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert not [path for path in files if secret.encode() in path.read_bytes()]
