"""`kill -9` of stages, of dvc, of workers: the next repro goes on, and ends with the same bits."""

import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest
from dvc.utils.serialize import load_yaml

from tests import forks
from tests.projects import DVC, change_parameters, environment, forget, store

DVC_ITSELF, STAGE, WORKER = "dvc", "pipelines.", "spawn_main"
"""Who is killed: a word in a process's name or in its command line."""
PIPELINE = [
    ("collect", "episodes/shard-*", 1, WORKER),
    ("collect", "episodes/shard-*", 3, DVC_ITSELF),
    ("vae", "ended", 1, DVC_ITSELF),
    ("encode", "latents/shard-*", 2, STAGE),
    ("rnn", "last.ckpt", 1, DVC_ITSELF),
    ("evaluate", "returns.jsonl", 10, STAGE),
    ("register", "run-id", 1, DVC_ITSELF),
]
"""In order: the stage, who is killed, and what has to be in the stage's state by then."""
FRESH = (("collect", WORKER), ("encode", STAGE), ("rnn", DVC_ITSELF))
"""Of these the dvc is a Python of its own, and so are its stages, as a user's are."""
CONTROLLER = [
    ("controller", "generations.jsonl", 1, WORKER),
    ("controller", "generations.jsonl", 3, STAGE),
]
"""The same of the stage whose results are others with two threads."""
NAMES = ["collect", "vae", "encode", "rnn", "fidelity", "controller", "evaluate", "register"]
SAYS = {
    "collect": ["collect: going on after", " of 6 shards"],
    "vae": ["vae: going on after 20 of 20 batches"],
    "encode": ["encode: going on after", " of 6 shards"],
    "rnn": ["rnn: going on after 5 of 10 batches"],
    "controller": ["controller: going on after 3 of 4 generations"],
    "evaluate": ["evaluate: going on after 10 of 10 jobs"],
}
"""What it says when it is left alone at last."""
ALONE = ["--single-item", "controller@pendulum"]
TWO_THREADS = {"OMP_NUM_THREADS": "2"}
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


@dataclass(frozen=True)
class AtWork:
    """A dvc at work, and the file that it tells what it does."""

    process: BaseProcess
    told: Path

    def said(self) -> str:
        return self.told.read_text()


def start(project, *options, fresh=False, **variables):
    """Dvc at work on what is stale."""
    told, command = project.with_name("said"), (*DVC, "repro", *options)
    told.write_text("")
    process = forks.start(command, project, environment(project) | variables, told, told, fresh)
    return AtWork(process, told)


def end(dvc):
    """What a dvc said that is left alone, and succeeds."""
    dvc.process.join()
    assert dvc.process.exitcode == 0, dvc.said()
    return dvc.said()


def done(project, name, pattern):
    """How much there is in a stage's state: files, or lines of a journal."""
    found = list((project / ".state" / f"{name}@pendulum").glob(f"*/{pattern}"))
    journals = [file.read_text().count("\n") for file in found if file.suffix == ".jsonl"]
    return sum(journals) if journals else len(found)


def kill(dvc, word):
    """Kills the one of dvc's family who goes by this word; all others end by that."""
    itself = psutil.Process(dvc.process.pid)
    family = [itself, *itself.children(recursive=True)]
    next(one for one in family if any(word in part for part in [one.name(), *one.cmdline()])).kill()
    dvc.process.join(60)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    return dvc.said()


def note_shards(project, written):
    """Adds when each shard of a stage's state was written; it may have been more than once."""
    with suppress(FileNotFoundError):  # a stage may just end
        for file in (project / ".state").rglob("shard-*.zip"):
            written[file.parent.name, file.name].add(file.stat().st_mtime_ns)


def kill_all(project, kills, *options, **variables):
    """Begins again after each kill, the last time to end well.

    Returns what dvc said, and when each shard was written.
    """
    said, written = [], defaultdict(set)
    for name, pattern, count, whom in kills:
        dvc = start(project, *options, fresh=(name, whom) in FRESH, **variables)
        while done(project, name, pattern) < count:
            assert dvc.process.is_alive(), dvc.said()
            note_shards(project, written)
            time.sleep(0.02)
        said.append(kill(dvc, whom))
        if whom == WORKER:
            assert f"{name}: a worker process died" in said[-1]
            assert "Traceback" not in said[-1]
            change_parameters(project, "machine", {"workers": 1})  # as README.md advises
    said.append(end(start(project, *options, **variables)))
    return "".join(said), written


@pytest.fixture(scope="module")
def pipeline(project):
    """All stages but the controller have run again, and most were killed."""
    forget(project, [f"{name}@pendulum" for name in NAMES if name != "controller"])
    return kill_all(project, PIPELINE)


@pytest.fixture(scope="module")
def controller(project, pipeline):
    """So was the controller, after all others."""
    forget(project, ["controller@pendulum"])
    return kill_all(project, CONTROLLER, *ALONE, **TWO_THREADS)


@pytest.mark.parametrize("name", SAYS)
def test_a_stage_goes_on_where_it_was_killed(request, name):
    said, _ = request.getfixturevalue("controller" if name == "controller" else "pipeline")
    assert all(line in said for line in SAYS[name]), said


def test_a_shard_is_not_made_a_second_time(pipeline):
    _, written = pipeline
    assert [folder for folder, _ in sorted(written)] == ["episodes"] * 6 + ["latents"] * 6
    assert all(len(times) == 1 for times in written.values()), written


def test_fewer_workers_cost_no_run_anything(pipeline):
    said, _ = pipeline
    assert "tracking: " not in said


def runs(project):
    """MLflow's, by name."""
    client = store(project)
    (experiment,) = client.search_experiments(filter_string="name = 'world-models'")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        found.setdefault(run.info.run_name, []).append(run)
    return found, client


def test_the_runs_were_continued(project, controller):
    found, client = runs(project)
    assert sorted(found) == sorted(f"{name}@pendulum" for name in NAMES)
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


def test_undisturbed_everything_has_the_same_hash(project, controller, finished):
    disturbed, undisturbed = stages(project), stages(finished)
    assert disturbed.keys() == undisturbed.keys()
    for name in undisturbed.keys() - {"controller@pendulum"}:
        assert disturbed[name] == undisturbed[name], name


def test_again_c_has_the_same_hash(project, controller):
    """Held against itself, since it takes an equal number of threads."""
    disturbed = stages(project)
    assert "> python -m" in end(start(project, *ALONE, "--force", **TWO_THREADS))
    assert stages(project) == disturbed
    found, _ = runs(project)
    assert len(found["controller@pendulum"]) == 2  # it was no resuming


def test_what_dvc_has_taken_leaves_no_state_but_the_last_stages(project, controller):
    left = [path.parent.name for path in (project / ".state").glob("*/*")]
    assert left == ["controller@pendulum"]
