"""Data and models travel through a remote whole, or not at all."""

import sys

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


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Who looks for credentials asks nobody on the net."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def run(folder, *command, expected=0):
    done = projects.run(folder, *command, expected=expected)
    return done.stdout + done.stderr


def dvc(folder, *arguments, expected=0):
    return run(folder, sys.executable, "-m", "dvc", *arguments, expected=expected)


@pytest.fixture(params=["s3", "folder"])
def shared(request, tmp_path):
    """A project of two stages, pushed; a clone of it that knows the remote; and how to damage
    the remote's object of `vae`."""
    project, clone = tmp_path / "project", tmp_path / "clone"
    project.mkdir()
    run(project, "git", "init", "--quiet")
    dvc(project, "init", "--quiet")
    (project / ".dvc" / "config").write_text((projects.ROOT / ".dvc" / "config").read_text())
    (project / "dvc.yaml").write_text(STAGES)
    if request.param == "s3":
        address, client = request.getfixturevalue("s3")
        prefix = tmp_path.name
        dvc(project, "remote", "add", "-d", "storage", f"s3://storage/{prefix}")
        dvc(project, "remote", "modify", "storage", "endpointurl", address)
        dvc(project, "remote", "modify", "storage", "verify", "true")
        for option, value in {"access_key_id": KEY, "secret_access_key": SECRET}.items():
            dvc(project, "remote", "modify", "--local", "storage", option, value)
    else:
        dvc(project, "remote", "add", "-d", "storage", str(tmp_path / "storage"))
    log = dvc(project, "repro") + dvc(project, "push", "--verbose")
    projects.commit(project, "Begin")
    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    local = project / ".dvc" / "config.local"
    if local.exists():
        (clone / ".dvc" / "config.local").write_text(local.read_text())
    md5 = run(project, "md5sum", "vae").split()[0]
    name = f"files/md5/{md5[:2]}/{md5[2:]}"

    def damage(how):
        if request.param == "s3":
            body = client.get_object(Bucket="storage", Key=f"{prefix}/{name}")["Body"].read()
            client.put_object(Bucket="storage", Key=f"{prefix}/{name}", Body=how(body))
        else:
            path = tmp_path / "storage" / name
            path.chmod(0o644)
            path.write_bytes(how(path.read_bytes()))

    return project, clone, damage, log


def test_a_fresh_clone_trains_nothing_and_has_equal_files(shared):
    project, clone, _, _ = shared
    ran = (project.parent / "ran").read_text()
    dvc(clone, "repro", "--pull")
    assert (project.parent / "ran").read_text() == ran
    for name in ("vae", "rnn", "data/1"):
        assert (clone / name).read_bytes() == (project / name).read_bytes()


@pytest.mark.parametrize(
    "how",
    [lambda body: body[:100] + b"X" + body[101:], lambda body: body[:1000]],
    ids=["flipped", "cut"],
)
def test_a_damaged_object_of_the_remote_is_named_and_not_taken(shared, how):
    _, clone, damage, _ = shared
    damage(how)
    said = dvc(clone, "pull", expected=1)
    assert "vae" in said.split("Checkout failed for following targets:")[1]
    assert not (clone / "vae").exists()


def test_credentials_are_in_no_commit_and_no_log(shared):
    project, clone, _, log = shared
    log += dvc(clone, "pull", "--verbose")
    log += run(project, "git", "log", "--all", "--patch")
    for secret in (KEY, SECRET):
        assert secret not in log
        for folder in (project, clone):
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
