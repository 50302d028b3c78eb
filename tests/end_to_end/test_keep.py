"""A run that counts is kept, with what it was made with and how long that took."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest
from dvc.utils.serialize import load_yaml

from pipelines.keep import main as keep
from tests.projects import change_parameters, enter, run
from tests.stages import refused_here, said_here
from world_models import cli

STAGES = ("collect", "vae", "encode", "rnn", "fidelity", "controller", "evaluate")


KEPT = "results/smoke/pendulum/seed-1"


@pytest.fixture(scope="module")
def made(copy):
    """A project whose run is kept."""
    project = copy()
    assert run(project, sys.executable, "-m", "pipelines.keep", "pendulum").stdout == f"{KEPT}\n"
    return project


@pytest.fixture
def project(made, monkeypatch):
    """The same, in which a test runs."""
    enter(made, monkeypatch)
    return made


def test_a_run_is_kept_with_parameters_lock_reports_and_times(project):
    kept = project / KEPT
    for name in ("scores.json", "returns.csv", "generations.csv", "controller.json"):
        assert (kept / name).read_bytes() == (project / "reports/pendulum" / name).read_bytes()
    assert (kept / "params.yaml").read_bytes() == (project / "params.yaml").read_bytes()
    of_stages = {f"{stage}@pendulum" for stage in STAGES}
    lock, whole = (load_yaml(folder / "dvc.lock")["stages"] for folder in (kept, project))
    assert lock == {name: whole[name] for name in of_stages}
    origin = json.loads((kept / "run.json").read_text())
    assert (origin["scale"], origin["round"], origin["seed"]) == ("smoke", "pendulum", 1)
    revision = run(project, "git", "rev-parse", "HEAD^").stdout.strip()
    assert {stage["revision"] for stage in origin["stages"].values()} == {revision}
    seconds = [stage["seconds"] for stage in origin["stages"].values()]
    assert min(seconds) > 0
    assert origin["seconds"] == pytest.approx(sum(seconds), abs=1)


def test_a_kept_run_gives_way_to_no_other(project):
    """Kept once more it is the same; the folder of another has to be removed."""
    kept = project / KEPT / "run.json"
    before = kept.read_text()
    assert said_here(keep, "pendulum") == f"{KEPT}\n"
    assert kept.read_text() == before
    kept.write_text(before.replace('"seed": 1', '"seed": 2'))
    said = refused_here(keep, "pendulum")
    kept.write_text(before)
    assert said == f"keep: {KEPT}: another run is kept there: remove the folder first"


def test_what_is_not_up_to_date_is_not_kept(project):
    before = (project / "params.yaml").read_text()
    try:
        change_parameters(project, "smoke.pendulum.vae", {"batches": 30})
        said = refused_here(keep, "pendulum")
    finally:
        (project / "params.yaml").write_text(before)
    assert said == "keep: vae@pendulum: not up to date: run `dvc repro vae@pendulum`"
    said = refused_here(keep, "pong")
    assert said.startswith("keep: pong: no round 'pong'; there are: ")


def test_a_run_that_mlflow_does_not_know_is_not_kept(project):
    """Other outputs than any run has made: as if the store had been begun anew since."""
    with closing(sqlite3.connect(project / "mlflow.db")) as store:
        with store:
            store.execute("update tags set value = value || '?' where key = 'dvc.outputs'")
        said = refused_here(keep, "pendulum")
        with store:
            store.execute("update tags set value = rtrim(value, '?') where key = 'dvc.outputs'")
    again = "`dvc repro --force --single-item collect@pendulum` makes one"
    assert said == (f"keep: collect@pendulum: MLflow has no run that made its results; {again}")


def test_a_store_that_does_not_answer_is_named(project, monkeypatch):
    """Nothing listens on port 9 of this machine."""
    uri = "http://127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said = refused_here(keep, "pendulum")
    assert said.startswith(f"keep: {uri}: ")


def test_all_that_the_project_needs_stays_on_the_disk(project, capfd):
    """Each result of it is of a commit, and each run is there."""
    cached = {path for path in (project / ".dvc" / "cache").rglob("*") if path.is_file()}
    runs = {path for path in (project / "mlartifacts").rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as exit_:  # of a process of its own
        cli.main(["disk", "--clean", "-f"])
    assert exit_.value.code == 0
    said = capfd.readouterr().out
    assert "registered agents" in said
    assert "nothing can go" in said
    assert all(path.exists() for path in cached | runs)
