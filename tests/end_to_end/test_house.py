"""A group's house: two users at work at once with one MLflow server and one remote.

The server keeps its runs in PostgreSQL and its files in S3, and asks for a password.
"""

import json
from base64 import b64encode
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from mlflow import MlflowClient

from tests import forks, projects
from tests.end_to_end.conftest import CREDENTIALS
from tests.servers import MLflowServer, postgres, postgres_programs

MISSING = [
    what
    for what, there in {
        "PostgreSQL (.ci/postgres installs it)": postgres_programs(),
        "the extra `server`": find_spec("psycopg") and find_spec("flask_wtf"),
    }.items()
    if not there
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")

AUTH = """
[mlflow]
default_permission = EDIT
auth_cache_ttl_seconds = 60
database_uri = {}
"""
ADMIN = ("admin", "chosen by the admin")
USERS = {"ada": "ada's own password", "grace": "grace's own password"}
TRIED = {"ada": {"generations": 1, "sigma": 0.2}, "grace": {"generations": 2, "sigma": 0.4}}
"""Of the controller; with another sigma no C comes out that was there before."""
STAGES = ["controller", "evaluate", "register"]
"""What runs anew by that; all else DVC has."""


def ask(uri, path, user=None, body=None):
    """What a server answers, in JSON."""
    headers = {"Content-Type": "application/json"}
    if user:
        headers["Authorization"] = f"Basic {b64encode(':'.join(user).encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{uri}/api/2.0/mlflow/{path}", data, headers)
    with urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def house(s3, tmp_path_factory):
    """The address of the server, which knows the users."""
    folder, (storage, _) = tmp_path_factory.mktemp("house"), s3
    with postgres("mlflow", "mlflow_auth") as ((runs, users), password):
        auth = folder / "auth.ini"
        auth.write_text(AUTH.format(users))
        server = MLflowServer(
            folder,
            (
                *("--app-name", "basic-auth", "--backend-store-uri", runs),
                *("--artifacts-destination", "s3://storage/mlflow"),
            ),
            {
                "MLFLOW_AUTH_CONFIG_PATH": str(auth),
                "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
                "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
                "MLFLOW_S3_ENDPOINT_URL": storage,
                "AWS_EC2_METADATA_DISABLED": "true",
                **password,
                **CREDENTIALS,
            },
        )
        server.start()
        try:
            for name, password in USERS.items():
                account = {"username": name, "password": password}
                ask(server.uri, "users/create", ADMIN, account)
            yield server.uri
        finally:
            server.kill()


def variables(project, uri, name):
    """What a user works with."""
    return projects.environment(project) | {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_TRACKING_USERNAME": name,
        "MLFLOW_TRACKING_PASSWORD": USERS[name],
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # two pipelines and three servers share this machine
        "AWS_EC2_METADATA_DISABLED": "true",
        **CREDENTIALS,
    }


@pytest.fixture(scope="module")
def worked(house, s3, copy):
    """Each user's project, and what its commands said that ran beside the other's."""
    found = {name: copy() for name in USERS}
    for name, project in found.items():
        projects.dvc(project, "remote", "add", "-d", "storage", "s3://storage/house")
        projects.dvc(project, "remote", "modify", "storage", "endpointurl", s3[0])
        projects.change_parameters(project, "smoke.pendulum.controller", TRIED[name])

    def work(name):
        actions = [(*projects.DVC, action) for action in ("repro", "push")]
        mine = variables(found[name], house, name)
        done = [forks.run(action, found[name], mine) for action in actions]
        said = "".join(text for one in done for text in (one.stdout, one.stderr))
        assert [one.returncode for one in done] == [0, 0], said
        return said

    with ThreadPoolExecutor(len(found)) as pool:
        said = dict(zip(found, pool.map(work, found), strict=True))
    for name, project in found.items():
        projects.commit(project, f"What {name} has tried")
    return found, said


@pytest.fixture
def client(house, monkeypatch):
    """Grace's, who may read what Ada has logged."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "grace")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", USERS["grace"])
    return MlflowClient(house)


def test_runs_of_two_users_are_distinct_and_whole(worked, client, tmp_path):
    found, said = worked
    assert "tracking: lost" not in "".join(said.values())
    experiment = client.get_experiment_by_name("world-models").experiment_id
    runs = defaultdict(list)
    for run in client.search_runs([experiment]):
        assert run.info.status == "FINISHED"
        assert not [tag for tag in run.data.tags if tag.startswith("lost.")]
        runs[run.data.tags["stage"]].append(run)
    assert {stage: len(of_stage) for stage, of_stage in runs.items()} == dict.fromkeys(STAGES, 2)
    for run in runs["controller"]:
        generations = int(run.data.params["controller.generations"])
        name = next(name for name in TRIED if TRIED[name]["generations"] == generations)
        assert len(client.get_metric_history(run.info.run_id, "sigma")) == generations
        kept = client.download_artifacts(run.info.run_id, "controller.safetensors", tmp_path)
        own = found[name] / "models" / "pendulum" / "controller.safetensors"
        assert Path(kept).read_bytes() == own.read_bytes()


def test_both_agents_are_versions_of_one_model(worked, client):
    versions = client.search_model_versions("name = 'world-models-pendulum'")
    assert sorted(int(version.version) for version in versions) == [1, 2]
    assert len({version.run_id for version in versions}) == 2


@pytest.mark.parametrize("name", USERS)
def test_a_clone_finds_all_of_its_users_files_in_the_remote(worked, house, tmp_path, name):
    project, clone = worked[0][name], tmp_path / "clone"
    projects.run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    done = forks.run((*projects.DVC, "pull"), clone, variables(clone, house, name))
    assert done.returncode == 0, done.stderr
    for model in (project / "models").rglob("*.safetensors"):
        assert (clone / model.relative_to(project)).read_bytes() == model.read_bytes()


@pytest.mark.parametrize("user", [None, ("ada", USERS["grace"])])
def test_who_has_no_password_is_let_in_nowhere(house, user):
    with pytest.raises(HTTPError) as refused:
        ask(house, "experiments/search?max_results=1", user)
    refused.value.close()
    assert refused.value.code == 401
