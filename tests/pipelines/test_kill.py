"""`kill -9` of stages, of dvc, of workers: the next repro goes on, and ends with the same bits."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from tests.projects import dvc, environment, make_project

DVC, STAGE, WORKER = "dvc", "pipelines.", "spawn_main"
"""Words in the command line of who is killed."""
KILLS = {
    "collect": [("episodes/shard-*", 1, WORKER), ("episodes/shard-*", 3, DVC)],
    "vae": [("last.ckpt", 1, STAGE), ("ended", 1, DVC)],
    "encode": [("latents/shard-*", 2, STAGE)],
    "rnn": [("last.ckpt", 1, DVC)],
    "honesty": [("run-id", 1, STAGE)],
    "controller": [
        ("generations.jsonl", 1, WORKER),
        ("generations.jsonl", 2, STAGE),
        ("generations.jsonl", 3, DVC),
    ],
    "evaluate": [("returns.jsonl", 1, WORKER), ("returns.jsonl", 4, STAGE)],
    "pipeline": [("run-id", 1, DVC)],
}
"""Of each stage, in order: who is killed once there is so much in its state."""
SAYS = {
    "collect": ["collect: going on after", " of 6 shards"],
    "vae": ["vae: going on after 20 of 20 batches"],
    "encode": ["encode: going on after", " of 6 shards"],
    "rnn": ["rnn: going on after 5 of 10 batches"],
    "controller": ["controller: going on after 3 of 4 generations"],
    "evaluate": ["evaluate: going on after 4 of 4 jobs"],
}
"""What it says when it is left alone at last."""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """A project in which nothing has run; equal bits take equal numbers of threads.

    With two, the controller's worlds have a process each.
    """
    project = tmp_path_factory.mktemp("project")
    make_project(project, ["pendulum"])
    parameters = yaml.safe_load((project / "params.yaml").read_text())
    smoke = parameters["smoke"]["pendulum"]
    smoke["collect"] |= {"episodes": 6, "shard_episodes": 1, "workers": 2}
    smoke["controller"] |= {"generations": 4, "validate_every": 2}
    smoke["evaluate"] |= {"episodes": 2, "lanes": 1}
    (project / "params.yaml").write_text(yaml.safe_dump(parameters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        yield project


def start(project, name):
    """Dvc at work on one stage."""
    return psutil.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", f"{name}@pendulum"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kept(project, name, pattern):
    """Files of a stage's state, with their inodes: new ones have others."""
    found = (project / ".state" / f"{name}@pendulum").glob(f"*/{pattern}")
    return {file: file.stat().st_ino for file in found}


def done(project, name, pattern):
    """How much there is in a stage's state: files, or lines of a journal."""
    found = kept(project, name, pattern)
    journals = [file.read_text().count("\n") for file in found if file.suffix == ".jsonl"]
    return sum(journals) if journals else len(found)


def kill(process, word):
    """Kills the one of dvc's family whose command line has this word; all others end by that."""
    family = [process, *process.children(recursive=True)]
    next(one for one in family if any(word in part for part in one.cmdline())).kill()
    said, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    return said


@pytest.mark.parametrize("name", KILLS)
def test_a_stage_goes_on_where_it_was_killed(project, name):
    for pattern, count, whom in KILLS[name]:
        process = start(project, name)
        while done(project, name, pattern) < count:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        said = kill(process, whom)
        if whom == WORKER:
            assert f"{name}: a worker process died" in said
            assert "Traceback" not in said
    shards = kept(project, name, "*/shard-*")
    process = start(project, name)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert all(line in said for line in SAYS.get(name, [])), said
    after = kept(project, name, "*/shard-*")
    assert {file: after[file] for file in shards} == shards
    assert len(after) >= len(shards) >= (name in ("collect", "encode"))


def runs(project):
    """MLflow's, by name."""
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'world-models'")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        found.setdefault(run.info.run_name, []).append(run)
    return found, client


def test_the_runs_were_continued(project):
    found, client = runs(project)
    assert sorted(found) == sorted(f"{name}@pendulum" for name in KILLS)
    for name, (only, *others) in found.items():
        assert not others, name
        assert only.info.status == "FINISHED"
    (controller,) = found["controller@pendulum"]
    history = client.get_metric_history(controller.info.run_id, "population_mean")
    assert [metric.step for metric in history] == [1, 2, 3, 4]
    (vae,) = found["vae@pendulum"]
    assert len(vae.inputs.dataset_inputs) == 1
    assert len(client.search_model_versions("name = 'world-models-pendulum'")) == 1


def test_undisturbed_and_again_everything_has_the_same_hash(project):
    disturbed = (project / "dvc.lock").read_text()
    said = dvc(project, "repro", "--force")
    assert said.count("> python -m") == len(KILLS)
    assert (project / "dvc.lock").read_text() == disturbed
    found, _ = runs(project)
    assert {len(of_stage) for of_stage in found.values()} == {2}  # it was no resuming


def test_what_dvc_has_taken_leaves_no_state_but_the_last_stages(project):
    left = [path.parent.name for path in (project / ".state").glob("*/*")]
    assert left == ["pipeline@pendulum"]
