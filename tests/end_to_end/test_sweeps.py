"""The paper's sweeps of temperatures and of C's inputs, off until they name a task."""

import csv
import json
import re

import pytest
from dvc.utils.serialize import load_yaml
from PIL import Image

from pipelines.keep import main as keep
from tests.projects import change_parameters, dvc, enter, status, store
from tests.stages import run_here, said_here, stay_as_it_is
from world_models.controller.checkpoint import read_controller_sizes
from world_models.data.seeds import TEST

SWEPT = {
    "temperature": ["0.5", "1.15"],
    "inputs": ["latent", "hidden-layer", "full"],
}
EPISODES = 2
every_sweep = pytest.mark.parametrize("sweep", SWEPT)


@pytest.fixture(scope="module")
def project(copy):
    """A project in which both sweeps have run."""
    project = copy()
    assert status(project) == {}  # no sweep is due
    for sweep in SWEPT:
        change_parameters(project, f"sweep_{sweep}", {"tasks": ["pendulum"]})
    change_parameters(project, "sweep_temperature", {"temperatures": [0.5, 1.15]})
    # Six more agents are scored: as little as there can be.
    change_parameters(project, "smoke.pendulum.controller", {"generations": 1})
    change_parameters(project, "smoke.pendulum.evaluate", {"episodes": EPISODES})
    dvc(project, "repro", *(f"compare_{sweep}" for sweep in SWEPT))
    return project


@pytest.fixture
def reports(project):
    return project / "reports" / "pendulum"


@pytest.fixture(scope="module")
def runs(project):
    """Every MLflow run by its name, and a client."""
    client = store(project)
    experiment = client.get_experiment_by_name("world-models")
    found = client.search_runs([experiment.experiment_id])
    return {logged.info.run_name: logged for logged in found}, client


def folder_of(reports, sweep, name):
    if name == "full":
        return reports
    return reports / sweep / (f"own-{name}" if sweep == "temperature" else name)


def scores_of(reports, sweep, name):
    return json.loads((folder_of(reports, sweep, name) / "scores.json").read_text())


@every_sweep
def test_the_table_has_each_variants_scores_in_both_worlds(reports, sweep):
    with (reports / f"{sweep}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [next(iter(row.values())) for row in rows] == SWEPT[sweep]
    for name, row in zip(SWEPT[sweep], rows, strict=True):
        scores = scores_of(reports, sweep, name)
        for world in ("dream", "real"):
            assert float(row[f"{world}_mean"]) == scores[world]["mean"]
            assert [float(row[f"{world}_ci95_{e}"]) for e in ("low", "high")] == scores[world][
                "ci95"
            ]
            assert f"{scores[world]['mean']:.0f} ± " in (reports / f"{sweep}.md").read_text()


@every_sweep
def test_there_is_a_plot_of_it(reports, sweep):
    with Image.open(reports / f"{sweep}.png") as picture:
        assert picture.width > picture.height > 400


@every_sweep
def test_variants_are_other_agents_on_the_agents_own_seeds(reports, sweep):
    returns = []
    for name in SWEPT[sweep]:
        with (folder_of(reports, sweep, name) / "returns.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["seed"]) for row in rows] == list(TEST[:EPISODES])
        returns.append([row["dream"] for row in rows])
    assert len({tuple(one) for one in returns}) == len(returns)


def test_controllers_that_see_less_have_the_parameters_that_the_table_says(project, reports):
    sizes = {}
    for name in SWEPT["inputs"]:
        folder = "models/pendulum" if name == "full" else f"sweeps/pendulum/inputs/{name}"
        path = project / folder / "controller.safetensors"
        sizes[name] = read_controller_sizes(path).parameter_count
    assert sizes == {"latent": 16 + 1, "hidden-layer": 40 * 17 + 41, "full": 16 + 128 + 1}
    with (reports / "inputs.csv").open() as file:
        assert [int(row["parameters"]) for row in csv.DictReader(file)] == list(sizes.values())


def test_each_variant_has_a_run_with_what_it_was_made_with(runs):
    found, _ = runs
    for temperature in SWEPT["temperature"]:
        params = found[f"sweep_temperature@pendulum-own-{temperature}"].data.params
        assert params["dream.temperature"] == temperature
        assert params["controller.train_in"] == "dream"
        assert params["controller.dreamed_by"] == "own"
    for name, units in [("latent", "None"), ("hidden-layer", "40")]:
        logged = found[f"sweep_inputs@pendulum-{name}"].data
        assert logged.params["controller.inputs"] == "latent"
        assert logged.params["controller.hidden_units"] == units
        assert "real/mean" in logged.metrics


@every_sweep
def test_the_comparison_is_in_mlflow(runs, reports, sweep):
    found, client = runs
    compared = found[f"compare_{sweep}@pendulum"]
    files = {artifact.path for artifact in client.list_artifacts(compared.info.run_id)}
    assert {f"{sweep}.{kind}" for kind in ("csv", "md", "png")} <= files
    for name in SWEPT[sweep]:
        mean = scores_of(reports, sweep, name)["real"]["mean"]
        assert compared.data.metrics[f"{name}/real/mean"] == pytest.approx(mean)


def test_a_kept_run_has_their_tables_for_the_results_page(project, reports, monkeypatch):
    enter(project, monkeypatch)
    kept = said_here(keep, "pendulum").strip()
    for sweep in SWEPT:
        assert (project / kept / f"{sweep}.md").read_text() == (reports / f"{sweep}.md").read_text()


def test_one_more_temperature_makes_what_is_new_and_no_other(project):
    before = (project / "params.yaml").read_text()
    try:
        temperatures = {"temperatures": [0.5, 1.15, 1.3]}
        change_parameters(project, "sweep_temperature", temperatures)
        planned = dvc(project, "repro", "--dry", "compare_temperature")
    finally:
        (project / "params.yaml").write_text(before)
    assert set(re.findall(r"Running stage '(\S+)'", planned)) == {
        "sweep_temperature@pendulum-own-1.3",
        "compare_temperature@pendulum",
    }


def test_a_later_round_depends_on_nothing_that_a_sweep_has_made(project):
    lock = load_yaml(project / "dvc.lock")["stages"]
    written = [
        out["path"]
        for name, stage in lock.items()
        if name.startswith("sweep_")
        for out in stage["outs"]
    ]
    assert len(written) == 4 * 5
    assert not [path for path in written if path.startswith(("data/", "models/"))]


@pytest.mark.parametrize("name", ["sweep_temperature", "sweep_inputs"])
def test_a_variant_that_is_none_is_named(project, monkeypatch, name):
    monkeypatch.chdir(project)
    stay_as_it_is(monkeypatch)
    assert str(run_here(name, "pendulum", "warm")).startswith(f"{name}: warm: no ")
