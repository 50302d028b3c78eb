"""A training on two machines, here both this one: torchrun's one command on each."""

import json
import socket
import subprocess
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.projects import change_parameters, environment, run, store


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_node(project, rank, port):
    command = ["torchrun", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    return subprocess.Popen(
        [*command, "-m", "pipelines.ranks", "vae@pendulum"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_nodes_train_v_as_one_did_and_dvc_has_what_comes_of_it(copy):
    project: Path = copy()
    report = project / "reports" / "pendulum" / "vae.json"
    alone, client = json.loads(report.read_text()), store(project)
    change_parameters(project, "machine", {"num_nodes": 2})
    port = free_port()
    nodes = [start_node(project, rank, port) for rank in (0, 1)]
    said = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert said[0].count("vae: 20/20 batches") == 1
    assert "batches" not in said[1]
    assert json.loads(report.read_text()) == pytest.approx(alone, rel=1e-4)
    with safe_open(project / "models" / "pendulum" / "vae.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["model"])["devices"] == 2
    runs = client.search_runs(["1"], "tags.stage = 'vae'", order_by=["attributes.start_time ASC"])
    assert [one.data.tags.get("devices") for one in runs] == [None, "2"]
    assert "vae@pendulum" not in run(project, "dvc", "status", "vae@pendulum").stdout
