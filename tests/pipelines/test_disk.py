"""What nothing needs goes from the disk, after a yes; all else stays, whoever needs it."""

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import zc.lockfile
from dvc.repo import Repo
from dvc.utils.serialize import load_yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.utils.file_utils import local_file_uri_to_path

from pipelines import disk
from pipelines.dvc.resume import BY_HAND, ENDED, held_state, note_inputs
from tests.projects import DVC, commit, enter, init, run
from tests.stages import refused_here, said_here
from tests.waiting import wait_for
from world_models.tracking.client import open_store
from world_models.tracking.embedded import default_uri

STAGES = """
stages:
  collect:
    cmd: mkdir -p data && echo ${v} > data/episodes
    params: [v]
    outs: [data]
  vae:
    cmd: cat data/episodes > model && echo model >> model
    deps: [data]
    outs: [model]
"""
WAYS = {
    "1": "a commit of another branch",
    "2": "a commit that has a tag alone",
    "3": "an experiment",
    "4": "an experiment in the queue before the last",
    "5": "what is stashed",
    "6": "what is staged",
    "7": "a kept run",
    "8": "a registered agent",
    "9": "a stage that has not finished",
    "10": "the folder itself",
}
"""The value that a result is made with, and what needs it; nothing needs that of 11."""


def make(value: str) -> dict[str, str]:
    """Runs the pipeline with a value; returns the hashes of what it has made, by path."""
    Path("params.yaml").write_text(f"v: {value}\n")
    with Repo() as repo:
        repo.reproduce()
    stages = load_yaml("dvc.lock")["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def objects(value: str) -> list[Path]:
    """The files of the cache that results of a value take."""
    episodes, model = f"{value}\n".encode(), f"{value}\nmodel\n".encode()
    files = hashlib.md5(episodes).hexdigest()
    folder = json.dumps([{"md5": files, "relpath": "episodes"}]).encode()
    names = [files, hashlib.md5(folder).hexdigest() + ".dir", hashlib.md5(model).hexdigest()]
    return [Path(".dvc/cache/files/md5", name[:2], name[2:]) for name in names]


def need(value: str, project: Path, store: MlflowClient) -> None:
    """Makes results with a value, and has them needed in its way."""
    made = make(value)
    match WAYS.get(value):
        case "a commit of another branch":
            run(project, "git", "checkout", "--quiet", "-b", "other")
            commit(project, value)
            run(project, "git", "checkout", "--quiet", "master")
        case "a commit that has a tag alone":
            run(project, "git", "checkout", "--quiet", "--detach")
            commit(project, value)
            run(project, "git", "tag", "kept")
            run(project, "git", "checkout", "--quiet", "master")
        case "an experiment":
            with Repo() as repo:
                repo.experiments.save(name="tried")
        case "an experiment in the queue before the last":
            for other in (value, "0"):
                make(other)
                with Repo() as repo:
                    repo.experiments.run(queue=True, params=["v=100"])
        case "what is stashed":
            run(project, "git", "stash", "--quiet")
        case "what is staged":
            run(project, "git", "add", "dvc.lock")
        case "a kept run":
            kept = project / "results" / "smoke" / "x" / "seed-1"
            kept.mkdir(parents=True)
            shutil.copy("dvc.lock", kept)
        case "a registered agent":
            agent = new_run(store, "world-models")
            text = json.dumps({"vae": {"outputs": {"model": made["model"]}}})
            store.log_text(agent, text, "register.json")
            register(store, agent)
        case "a stage that has not finished":
            with suppress(KeyboardInterrupt), held_state(*state_of("rnn@x", "abc")) as state:
                note_inputs(state, {"model": made["model"]})
                raise KeyboardInterrupt


def state_of(stage: str, key: str) -> tuple[Path, str, str, Path]:
    """Where that of a stage lies."""
    return Path(".state").resolve(), stage, key, Path(".dvc/cache/runs")


def new_run(store: MlflowClient, experiment: str) -> str:
    """A run that has ended, with an artifact and a model."""
    group = store.get_experiment_by_name(experiment).experiment_id
    number = store.create_run(group).info.run_id
    store.log_text(number, "x" * 10_000, "file")
    model = store.create_logged_model(group, "agent", source_run_id=number)
    store.log_model_artifacts(model.model_id, "data")
    store.finalize_logged_model(model.model_id, "READY")
    store.set_terminated(number)
    return number


def model_of(store: MlflowClient, number: str) -> LoggedModel:
    """The run's model."""
    group = store.get_run(number).info.experiment_id
    (found,) = store.search_logged_models([group], f"source_run_id = '{number}'")
    return found


def register(store: MlflowClient, number: str) -> None:
    """Makes a version of a run's model."""
    store.create_registered_model("world-models-x")
    source = model_of(store, number).artifact_location
    store.create_model_version("world-models-x", source, number)


def files_of(store: MlflowClient, number: str) -> list[Path]:
    """The folders of a run's artifacts and of its model's."""
    uris = [store.get_run(number).info.artifact_uri, model_of(store, number).artifact_location]
    return [Path(local_file_uri_to_path(uri)) for uri in uris]


RUNS = {
    "there": "world-models",
    "deleted": "world-models",
    "linked": "world-models",
    "elsewhere": "other",
}
"""Runs by what became of them, and their experiments."""
BUSY = "disk: a dvc is at work in this project: wait until it has ended"


class Project(NamedTuple):
    """One in which a result is needed in each way."""

    root: Path
    runs: dict[str, list[Path]]
    """Folders of MLflow's runs, by what became of the run."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A small project of DVC's with a store of MLflow's, and a stage that is run by hand.

    The module's tests run in its folder.
    """
    root = tmp_path_factory.mktemp("projects") / "a project"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as at_work:
        enter(root, patch)
        at_work.enter_context(held_state(*state_of("vae@x", BY_HAND)))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        Path("dvc.yaml").write_text(STAGES)
        Path("params.yaml").write_text("v: 0\n")
        Path(".gitignore").write_text("/mlflow.db*\n/mlartifacts\n/.state\n/results\n")
        init(root, "--initial-branch", "master")
        for key, value in (("name", "Nobody"), ("email", "nobody@example.org")):
            run(root, "git", "config", f"user.{key}", value)
        make("0")
        commit(root, "Begin")
        Path("results").mkdir()
        Path("results", "README.md").write_text("kept runs")
        store = open_store(default_uri(root))
        for name, folder in (("world-models", root / "mlartifacts"), ("other", root.parent)):
            store.create_experiment(name, (folder / name).as_uri())
        for value in ("11", *WAYS):
            need(value, root, store)
        finish_states()
        yield Project(root, runs(store))


def finish_states() -> None:
    """Two stages have ended, and DVC has their results; where one keeps its work is a link."""
    key = next(Path(".dvc", "cache", "runs").glob("*/*")).name
    with held_state(*state_of("encode@x", key)):
        pass
    away = Path("..", "state").resolve()
    (away / key).mkdir(parents=True)
    (away / key / ENDED).touch()
    Path(".state", "linked@x").symlink_to(away)


def runs(store: MlflowClient) -> dict[str, list[Path]]:
    """Makes runs of which all but one are deleted; some of those have to stay all the same."""
    (version,) = store.search_model_versions()
    numbers = {name: new_run(store, group) for name, group in RUNS.items()}
    numbers["registered"] = version.run_id
    found = {name: files_of(store, number) for name, number in numbers.items()}
    for number in [number for name, number in numbers.items() if name != "there"]:
        store.delete_run(number)
    for folder in found["linked"]:
        folder.rename(away := Path("..", folder.parent.name).resolve())
        folder.symlink_to(away)
    return found


def clean(*options: str) -> str:
    """What cleaning says."""
    return said_here(disk.main, "--clean", *options)


def refused() -> str:
    """The line that cleaning is refused with."""
    return refused_here(disk.main, "--clean", "--force")


def contents() -> set[Path]:
    """All that lies where something might go, and where links lead to."""
    folders = [Path(".dvc", "cache"), Path(".state"), Path("mlartifacts"), Path("..")]
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_without_a_yes_nothing_goes_and_all_is_shown_by_what_it_is_for(project):
    before = contents()
    *lines, last = clean().splitlines()
    assert last == "nothing was removed; --force removes without asking"
    assert contents() == before
    rows = {(line[:14].strip(), line[14:48].strip()): line[48:56].strip() for line in lines}
    assert {purpose: files for (folder, purpose), files in rows.items() if "cache" in folder} == {
        "dvc.lock as it is": "3",
        "kept runs": "3",
        "commits": "12",  # and those of the first
        "experiments": "9",
        "registered agents": "3",
        "unfinished stages": "3",
        "nothing": "3",
    }
    assert rows[".state", "rnn@x, unfinished"] == "1"
    assert rows[".state", "nothing"] == "1"
    assert rows[".state", "nothing, but it lies elsewhere"] == "1"
    assert rows["mlartifacts", "runs"] == rows["mlartifacts", "nothing"] == "2"


def test_while_a_dvc_is_at_work_nothing_goes(project):
    """Its stages need what no lock names yet."""
    text = Path("dvc.yaml").read_text()
    Path("dvc.yaml").write_text(text.replace("mkdir", "touch begun; sleep 60; mkdir"))
    command = [*DVC, "repro", "--force"]
    before = contents()
    with psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(Path("begun").exists)
            assert refused() == BUSY
        finally:
            for one in [process, *process.children(recursive=True)]:  # dvc first: it would go on
                one.kill()
    Path("begun").unlink()
    Path("dvc.yaml").write_text(text)
    with Repo() as repo:
        repo.checkout()
    assert contents() == before


def test_while_a_dvc_writes_nothing_goes(project):
    lock = zc.lockfile.LockFile(".dvc/tmp/lock")
    try:
        assert refused() == BUSY
    finally:
        lock.close()


@pytest.mark.parametrize("name", ["dvc.lock", "a list of files"])
def test_where_what_is_needed_can_not_be_read_nothing_goes(project, name):
    file = Path(name) if name == "dvc.lock" else objects("1")[1]
    whole, before = file.read_bytes(), contents()
    file.chmod(0o644)
    file.write_bytes(whole[:-2])
    try:
        assert refused().startswith(f"disk: {file}: damaged: ")
    finally:
        file.write_bytes(whole)
    assert contents() == before


@pytest.fixture(scope="module")
def cleaned(project):
    """The project after a yes on a terminal."""
    user, terminal = pty.openpty()
    with (
        pytest.MonkeyPatch.context() as patch,
        open(terminal) as typed,
        open(terminal, "w", closefd=False) as shown,
    ):
        os.write(user, b"y\n")
        patch.setattr(sys, "stdin", typed)
        patch.setattr(sys, "stdout", shown)
        patch.setattr(sys, "argv", ["disk", "--clean"])
        disk.main()
    os.close(user)
    return project


@pytest.mark.parametrize("value", WAYS, ids=WAYS.get)
def test_what_is_needed_stays_with_what_it_was_made_from(cleaned, value):
    assert all(path.exists() for path in objects(value))


def test_what_nothing_needs_is_gone(cleaned):
    assert not any(path.exists() for path in objects("11"))


def test_work_goes_when_nobody_will_go_on_from_it(cleaned):
    left = {path.parent.name for path in Path(".state").glob("*/*")}
    assert left == {"rnn@x", "vae@x", "linked@x"}


def test_a_deleted_run_goes_and_what_is_there_or_registered_or_elsewhere_stays(cleaned):
    there = {name: [path.exists() for path in paths] for name, paths in cleaned.runs.items()}
    assert there == {
        "there": [True, True],
        "deleted": [False, False],
        "registered": [True, True],
        "elsewhere": [True, True],
        "linked": [True, True],
    }


def test_then_there_is_nothing_to_remove(cleaned):
    before = contents()
    assert clean("--force").splitlines()[-1] == "nothing can go"
    assert contents() == before


def test_a_cache_that_other_projects_may_share_is_left_alone(cleaned):
    Path(".dvc", "config.local").write_text("[cache]\ndir = ../../shared\n")
    make("11")
    make("10")
    shared = {path: path.read_bytes() for path in Path("..", "shared").rglob("*.dir")}
    assert "nothing, but it lies elsewhere" in clean("--force")
    assert len(shared) == 2
    assert all(path.exists() for path in shared)
