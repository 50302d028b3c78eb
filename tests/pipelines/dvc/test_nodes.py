"""A training on two machines, here both this one: torchrun's one command on each."""

import json
import subprocess

import pytest
from safetensors import safe_open

from tests.episodes import write_episodes
from tests.projects import change_parameters, environment, make_project, status, store
from tests.servers import free_port
from tests.stages import run_here, stay_as_it_is

STAGE = "vae@pendulum"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with episodes, whose V is trained in a moment."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ["pendulum"])
    write_episodes(tmp_path)
    change_parameters(tmp_path, "smoke.all.vae", {"batches": 6, "validate_every": 3})
    return tmp_path


def start_node(project, rank, port):
    command = ["torchrun", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    return subprocess.Popen(
        [*command, "-m", "pipelines.ranks", STAGE],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_nodes_train_as_one_does_and_dvc_has_what_comes_of_it(project, monkeypatch):
    report = project / "reports" / "pendulum" / "vae.json"
    model = project / "models" / "pendulum" / "vae.safetensors"
    with monkeypatch.context() as patch:
        stay_as_it_is(patch)
        assert run_here("vae", "pendulum") == 0
    alone = json.loads(report.read_text())
    change_parameters(project, "machine", {"num_nodes": 2})
    port = free_port()
    nodes = [start_node(project, rank, port) for rank in (0, 1)]
    said = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert said[0].count("vae: 6/6 batches") == 1
    assert "batches" not in said[1]
    # Training magnifies rounding, most of all in the little that z knows of pure noise.
    together = json.loads(report.read_text())
    assert together.pop("train/kl") == pytest.approx(alone.pop("train/kl"), rel=0.1)
    assert together.pop("validation/kl") == pytest.approx(alone.pop("validation/kl"), rel=0.1)
    assert together == pytest.approx(alone, rel=1e-5)
    with safe_open(model, framework="pt") as file:
        assert json.loads(file.metadata()["model"])["devices"] == 2
    (run,) = store(project).search_runs(["1"])
    assert run.data.tags["devices"] == "2"
    assert "reports/pendulum/vae.json" not in json.dumps(status(project, STAGE))
