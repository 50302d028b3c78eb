"""Dockerfile, compose.yaml and Kubernetes' manifest, as far as can be told without running them."""

import json
import os
import re
import shlex
import subprocess
from configparser import ConfigParser
from itertools import chain
from pathlib import Path

import pytest
import yaml
from pathspec import GitIgnoreSpec

from tests.test_packaging import pinned

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "cluster.md").read_text()
README = (ROOT / "README.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
CLUSTER = yaml.safe_load((ROOT / "docs" / "how-to" / "raycluster.yaml").read_text())


def instructions():
    """Pairs of an instruction and its text, of several lines made one."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def of_kind(kind):
    return [text for found, text in instructions() if found == kind]


def test_the_image_is_made_by_the_steps_of_readme():
    needs = re.search(r"You need Linux \(x86-64\), Python ([\d.]+), (\w+) and (\w+)", README)
    python, *programs = needs.groups()
    assert of_kind("FROM") == [f"python:{python}-slim-bookworm"]
    system, environment = of_kind("RUN")
    installed = re.search(r"apt-get install ([^&]*)", system).group(1).split()
    assert {word for word in installed if not word.startswith("-")} == set(programs)
    assert environment.split("&&")[-1].split()[-2:] == ["make", "setup"]
    assert re.search(r"^make repro +#", README, re.M)
    assert json.loads(of_kind("CMD")[0]) == ["make", "repro"]


def test_the_image_is_small_and_its_user_not_root():
    kinds = [kind for kind, _ in instructions()]
    system = of_kind("RUN")[0]
    assert "--no-install-recommends" in system
    assert "rm -rf /var/lib/apt/lists/*" in system
    assert kinds.index("USER") < kinds.index("COPY")
    assert f"--create-home {of_kind('USER')[0]}" in system
    assert "ADD" not in kinds


@pytest.mark.parametrize(("device", "own_index"), [("cpu", True), ("cuda", False)])
def test_torchs_build_is_an_argument(tmp_path, device, own_index):
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$PIP_EXTRA_INDEX_URL"\n')
    make.chmod(0o755)
    defaults = dict(text.split("=", 1) for text in of_kind("ARG"))
    assert defaults["DEVICE"] == "cpu"
    variables = defaults | {"DEVICE": device, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.check_output(["sh", "-c", of_kind("RUN")[1]], env=variables, text=True)
    workflow = (ROOT / ".github" / "workflows" / "pull-request.yml").read_text()
    index = re.search(r"PIP_EXTRA_INDEX_URL: (\S+)", workflow).group(1)
    assert said.strip() == (index if own_index else "")


def test_what_is_copied_is_a_clone():
    left_out = GitIgnoreSpec.from_lines((ROOT / ".dockerignore").read_text().splitlines())
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    assert [path for path in tracked if left_out.match_file(path)] == []
    for path in (
        *(".venv/bin/python", ".dvc/cache/files/md5/00/11", ".dvc/config.local", ".state/vae/x"),
        *("data/carracing/episodes/shard-00000.zarr.zip", "models/carracing/vae.safetensors"),
        *("mlflow.db", "mlartifacts/1/x", "src/world_models/__pycache__/cli.pyc"),
    ):
        assert left_out.match_file(path), path
    assert not left_out.match_file(".git/HEAD")


def test_services_find_each_other():
    assert set(SERVICES) == {"postgres", "minio", "buckets", "mlflow"}
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for other, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
        assert "build" in service or re.search(r":[\w.-]*\d", service["image"]), name
    used = [service.get("configs", []) for service in SERVICES.values()]
    assert {one["source"] for one in chain(*used)} == set(COMPOSE["configs"])
    mounted = [service.get("volumes", []) for service in SERVICES.values()]
    assert {one.split(":")[0] for one in chain(*mounted)} == set(COMPOSE["volumes"])


def test_services_are_for_this_machine_alone_unless_told_otherwise():
    for port in chain(*(service.get("ports", []) for service in SERVICES.values())):
        assert port.startswith("${LISTEN:-127.0.0.1}:")


def test_all_that_compose_wants_to_know_is_on_the_page():
    wanted = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    (example,) = re.findall(r"```text\n(POSTGRES_PASSWORD=.*?)```", PAGE, re.S)
    assert set(re.findall(r"^(\w+)=", example, re.M)) == wanted


def mlflow_commands():
    """Options of `mlflow server`: of compose.yaml, and of the page."""
    _, _, *options = SERVICES["mlflow"]["command"]
    (by_hand,) = re.findall(r"^mlflow server (.*?)\n```", PAGE, re.M | re.S)
    return [options, shlex.split(by_hand.replace("\\\n", " "))]


def test_mlflow_takes_these_options_and_variables():
    from mlflow import environment_variables
    from mlflow.cli import server

    for options in mlflow_commands():
        taken = server.make_context("server", list(options)).params
        assert taken["app_name"] == "basic-auth"
        assert taken["backend_store_uri"].startswith("postgresql://mlflow@")
        assert taken["artifacts_destination"] == "s3://mlflow"
    named = [*SERVICES["mlflow"]["environment"], *re.findall(r"\b(MLFLOW_\w+)=", PAGE)]
    for name in (name for name in named if name.startswith("MLFLOW_")):
        assert hasattr(environment_variables, name), name


@pytest.mark.parametrize(
    "text", [COMPOSE["configs"]["auth"]["content"], PAGE], ids=["file", "page"]
)
def test_all_users_may_log_to_one_experiment(text):
    auth = ConfigParser()
    auth.read_string(re.search(r"\[mlflow\]\n(\w+ = .*\n)+", text).group())
    assert auth["mlflow"]["default_permission"] == "EDIT"
    database = auth["mlflow"]["database_uri"].rsplit("/", 1)[1]
    assert database in COMPOSE["configs"]["databases"]["content"]
    assert f"createdb --owner mlflow {database}" in PAGE


def groups():
    return [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]


def test_the_manifest_is_a_ray_cluster_of_the_locks_ray():
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("ray.io/v1", "RayCluster")
    spec = CLUSTER["spec"]
    assert set(spec) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert spec["rayVersion"] == pinned().get("ray", spec["rayVersion"])
    assert set(spec["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in spec["workerGroupSpecs"]:
        counts = {"replicas", "minReplicas", "maxReplicas"}
        assert set(group) == {"groupName", "rayStartParams", "template"} | counts
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_pods_are_of_the_image_and_are_asked_where_ray_listens():
    images = set()
    for group in groups():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        images.add(container["image"])
        port = int(group["rayStartParams"].get("node-manager-port", 6379))
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["tcpSocket"]["port"] == port
        assert container["resources"]["limits"] == container["resources"]["requests"]
    assert len(images) == 1
    assert f"docker build --tag {images.pop()} ." in PAGE
