"""Experiments in DVC's queue, two at once: each in a copy of the project, with runs of its own."""

import json
from textwrap import indent

import pytest

from tests.projects import commit, dvc, run, store

SIGMAS = {"careful": "0.05", "bold": "0.5"}
"""By the experiment's name, the step size that it searches with."""
MEET = """
def meet(stage):
    import os, time
    from pathlib import Path
    (met := Path({folder!r})).mkdir(exist_ok=True)
    (met / os.environ["DVC_EXP_NAME"]).touch()
    deadline = time.monotonic() + 60
    while len(list(met.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    run(stage)

main("controller", meet, ["controller", "dream"])
"""
"""The end of a stage that waits for the other: they may be too short to meet by themselves."""


MAIN = '    main("controller", run, ["controller", "dream"])\n'


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory):
    """A project in which two queued experiments have been run by two workers."""
    project = copy("a project")  # DVC's own queue can't do with ?, # and % in a folder's name
    stage = project / "pipelines" / "controller.py"
    assert MAIN in stage.read_text()
    meet = MEET.format(folder=str(tmp_path_factory.mktemp("met")))
    stage.write_text(stage.read_text().replace(MAIN, indent(meet, "    ")))
    commit(project, "Experiments meet")
    for name, sigma in SIGMAS.items():
        changed = ("--set-param", f"+smoke.pendulum.controller.sigma={sigma}")
        dvc(project, "exp", "run", "--queue", "--name", name, *changed, "controller@pendulum")
    # Work goes on in the project's folder: no concern of experiments that were queued before.
    package = project / "src" / "world_models" / "__init__.py"
    before = package.read_text()
    package.write_text("raise RuntimeError('an experiment runs its own code')\n")
    try:
        dvc(project, "exp", "run", "--run-all", "--jobs", "2")  # until the queue is empty
    finally:
        dvc(project, "queue", "stop", "--kill")
        package.write_text(before)
    return project


@pytest.fixture(scope="module")
def runs(project):
    """The experiments' MLflow runs."""
    client = store(project)
    experiment = client.get_experiment_by_name("world-models")
    found = client.search_runs([experiment.experiment_id])
    return [logged for logged in found if "dvc.experiment" in logged.data.tags]


def test_both_end_well_with_results_of_their_own(project):
    shown = dvc(project, "queue", "status")
    assert shown.count("Success") == 2, shown
    refs = run(project, "git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    for name, sigma in SIGMAS.items():
        (ref,) = (ref for ref in refs if ref.endswith(f"/{name}"))
        kept = run(project, "git", "show", f"{ref}:reports/pendulum/controller.json").stdout
        assert json.loads(kept)["sigma"] == pytest.approx(float(sigma), rel=0.5)


def test_each_has_runs_of_its_own_in_the_projects_store(runs):
    assert sorted(logged.data.tags["dvc.experiment"] for logged in runs) == sorted(SIGMAS)
    for logged in runs:
        assert logged.info.status == "FINISHED"
        assert logged.data.tags["dvc.stage"] == "controller@pendulum"
        sigma = SIGMAS[logged.data.tags["dvc.experiment"]]
        assert logged.data.tags["git_changed"] == "true"
        assert logged.data.params["controller.sigma"] == sigma
    assert len({logged.data.tags["dvc.stage_key"] for logged in runs}) == 2


def test_they_ran_side_by_side(runs):
    first, second = (logged.info for logged in runs)
    assert first.start_time < second.end_time
    assert second.start_time < first.end_time


def test_the_projects_own_folder_is_as_it_was(project):
    status = run(project, "git", "status", "--porcelain", "--untracked-files=all").stdout
    assert status == ""
