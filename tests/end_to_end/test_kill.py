"""`kill -9` of stages, of dvc, of workers: the next repro goes on, and ends with the same bits."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc.utils.serialize import load_yaml, modify_yaml
from mlflow import MlflowClient

from tests.projects import change_parameters, environment

DVC, STAGE, WORKER = "dvc", "pipelines.", "spawn_main"
"""Words in the command line of who is killed."""
KILLS = {
    "collect": [("episodes/shard-*", 1, WORKER), ("episodes/shard-*", 3, DVC)],
    "vae": [("last.ckpt", 1, STAGE), ("ended", 1, DVC)],
    "encode": [("latents/shard-*", 2, STAGE)],
    "rnn": [("last.ckpt", 1, DVC)],
    "fidelity": [("run-id", 1, STAGE)],
    "evaluate": [("returns.jsonl", 1, WORKER), ("returns.jsonl", 10, STAGE)],
    "register": [("run-id", 1, DVC)],
    # The last, since with two threads its results are others.
    "controller": [
        ("generations.jsonl", 1, WORKER),
        ("generations.jsonl", 2, STAGE),
        ("generations.jsonl", 3, DVC),
    ],
}
"""Of each stage, in order: who is killed once there is so much in its state."""
SAYS = {
    "collect": ["collect: going on after", " of 6 shards"],
    "vae": ["vae: going on after 20 of 20 batches"],
    "encode": ["encode: going on after", " of 6 shards"],
    "rnn": ["rnn: going on after 5 of 10 batches"],
    "controller": ["controller: going on after 3 of 4 generations"],
    "evaluate": ["evaluate: going on after 10 of 10 jobs"],
}
"""What it says when it is left alone at last."""
THREADS = {"controller": {"OMP_NUM_THREADS": "2"}}
"""With two, the controller's worlds have a process each."""


@pytest.fixture(scope="module")
def project(copy) -> Path:
    """A project that is made, but tracks no run."""
    project = copy()
    change_parameters(project, "machine", {"workers": 2})
    found, client = runs(project)
    for run in [run for of_stage in found.values() for run in of_stage]:
        client.delete_run(run.info.run_id)
    client.delete_registered_model("world-models-pendulum")
    return project


def forget(project, name):
    """Has DVC take a stage for one that has never run."""
    with modify_yaml(project / "dvc.lock") as lock:
        del lock["stages"][f"{name}@pendulum"]
    for entry in (project / ".dvc" / "cache" / "runs").glob("*/*/*"):
        if f"pipelines.{name} " in entry.read_text():
            shutil.rmtree(entry.parent)


def start(project, name, *options):
    """Dvc at work on one stage."""
    stage = f"{name}@pendulum"
    return psutil.Popen(
        [sys.executable, "-m", "dvc", "repro", *options, "--single-item", stage],
        cwd=project,
        env=environment(project) | THREADS.get(name, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process):
    """What a dvc said that is left alone, and succeeds."""
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


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
    forget(project, name)
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
    said = end(start(project, name))
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


def stages(project):
    """What dvc.lock knows of each stage."""
    return load_yaml(project / "dvc.lock")["stages"]


def test_undisturbed_everything_has_the_same_hash(project, finished):
    disturbed, undisturbed = stages(project), stages(finished)
    assert disturbed.keys() == undisturbed.keys()
    for name in undisturbed.keys() - {"controller@pendulum"}:
        assert disturbed[name] == undisturbed[name], name


def test_again_c_has_the_same_hash(project):
    """Held against itself, since it takes an equal number of threads."""
    disturbed = stages(project)
    assert "> python -m" in end(start(project, "controller", "--force"))
    assert stages(project) == disturbed
    found, _ = runs(project)
    assert len(found["controller@pendulum"]) == 2  # it was no resuming


def test_what_dvc_has_taken_leaves_no_state_but_the_last_stages(project):
    left = [path.parent.name for path in (project / ".state").glob("*/*")]
    assert left == ["controller@pendulum"]
