"""The paper's sweep of temperatures and its ablations, off until they name a task."""

import csv
import json
import re

import pytest
from mlflow import MlflowClient
from PIL import Image

from pipelines.comparison import Row, markdown, measured, reported, series
from pipelines.paper import ABLATIONS, TEMPERATURES
from tests.early import change_parameters, take_early_stages_for_done
from tests.projects import dvc, make_project, run
from world_models.models.checkpoint import read_controller_sizes

SWEPT = {
    "temperature": ["0.5", "1.15"],
    "ablation": ["latent", "hidden-layer", "full"],
}
every_sweep = pytest.mark.parametrize("sweep", SWEPT)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in which both sweeps have run."""
    project = tmp_path_factory.mktemp("a project")
    make_project(project, ["pendulum"])
    take_early_stages_for_done(project)
    off = dvc(project, "stage", "list", "--name-only").split()
    assert not any(name.startswith(("temper", "ablat")) for name in off)
    for sweep in SWEPT:
        change_parameters(project, [sweep], {"tasks": ["pendulum"]})
    change_parameters(project, ["temperature"], {"taus": [0.5, 1.15]})
    dvc(project, "repro", *SWEPT)
    return project


@pytest.fixture
def reports(project):
    return project / "reports" / "pendulum"


@pytest.fixture(scope="module")
def runs(project):
    """Every MLflow run by its name, and a client."""
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("world-models")
    found = client.search_runs([experiment.experiment_id])
    return {logged.info.run_name: logged for logged in found}, client


def scores_of(reports, sweep, name):
    folder = reports if name == "full" else reports / sweep / name
    return json.loads((folder / "scores.json").read_text())


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
        folder = reports if name == "full" else reports / sweep / name
        with (folder / "returns.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["seed"]) for row in rows] == [3_000_000, 3_000_001]
        returns.append([row["dream"] for row in rows])
    assert len({tuple(one) for one in returns}) == len(returns)


def test_ablated_controllers_have_the_parameters_that_the_table_says(project, reports):
    sizes = {}
    for name in SWEPT["ablation"]:
        own = "" if name == "full" else f"ablation/{name}"
        path = project / "models" / "pendulum" / own / "controller.safetensors"
        sizes[name] = read_controller_sizes(path).parameter_count
    assert sizes == {"latent": 16 + 1, "hidden-layer": 40 * 17 + 41, "full": 16 + 128 + 1}
    with (reports / "ablation.csv").open() as file:
        assert [int(row["parameters"]) for row in csv.DictReader(file)] == list(sizes.values())


def test_each_variant_has_a_run_with_what_it_was_made_with(runs):
    found, _ = runs
    for tau in SWEPT["temperature"]:
        params = found[f"tempered@pendulum-{tau}"].data.params
        assert (params["dream.temperature"], params["controller.train_in"]) == (tau, "dream")
    for name, units in [("latent", "None"), ("hidden-layer", "40")]:
        logged = found[f"ablated@pendulum-{name}"].data
        assert logged.params["controller.inputs"] == "latent"
        assert logged.params["controller.hidden_units"] == units
        assert "real/mean" in logged.metrics


@every_sweep
def test_the_comparison_is_in_mlflow(runs, reports, sweep):
    found, client = runs
    compared = found[f"{sweep}@pendulum"]
    files = {artifact.path for artifact in client.list_artifacts(compared.info.run_id)}
    assert {f"{sweep}.{kind}" for kind in ("csv", "md", "png")} <= files
    for name in SWEPT[sweep]:
        mean = scores_of(reports, sweep, name)["real"]["mean"]
        assert compared.data.metrics[f"{name}/real/mean"] == pytest.approx(mean)


def test_one_more_temperature_makes_what_is_new_and_no_other(project):
    before = (project / "params.yaml").read_text()
    try:
        change_parameters(project, ["temperature"], {"taus": [0.5, 1.15, 1.3]})
        planned = dvc(project, "repro", "--dry", "temperature")
    finally:
        (project / "params.yaml").write_text(before)
    assert set(re.findall(r"Running stage '(\S+)'", planned)) == {
        "tempered@pendulum-1.3",
        "temperature@pendulum",
    }


def test_the_papers_figures_stand_beside_ours(tmp_path):
    own = {"mean": 800.0, "std": 300.0, "ci95": [740.0, 860.0]}
    (tmp_path / "scores.json").write_text(json.dumps({"dream": own, "real": own}))
    scores = measured(tmp_path / "scores.json")
    paper = reported(TEMPERATURES["takecover"][1.15])
    assert paper["real"].ci95 == pytest.approx((1092 - 109, 1092 + 109), abs=0.1)
    head, _, row = markdown("tau", [Row("1.15", scores, paper)]).splitlines()
    assert "the paper's in the game" in head
    assert row.endswith("| 800 ± 300 [740, 860] | 918 ± 546 | 1092 ± 556 |")
    assert [one.label for one in series([Row("1.15", scores, paper)])] == [
        *("in the dream, here", "in the dream, paper"),
        *("in the game, here", "in the game, paper"),
    ]
    full = Row("full", scores, reported(ABLATIONS["carracing"]["full"]), 867)
    assert markdown("C", [full]).splitlines()[2].startswith("| full | 867 | 800 ± 300 ")
    assert "paper's in the dream" not in markdown("C", [full])


@pytest.mark.parametrize("name", ["tempered", "ablated"])
def test_a_variant_that_is_none_is_named(project, name):
    command = ("python", "-m", f"pipelines.{name}", "pendulum", "warm")
    said = run(project, *command, expected=1).stderr
    assert said.startswith(f"{name}: warm: no ")
