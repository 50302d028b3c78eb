"""Agents in the registry of a real SQLite store."""

import shutil
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.utils.file_utils import local_file_uri_to_path

from tests.agents import as_model, registering, write_agent
from world_models.runtime.errors import TrackingError
from world_models.tracking.client import existing_store, is_permanent
from world_models.tracking.embedded import default_uri
from world_models.tracking.registry import (
    download_version,
    model_name,
    promote,
    register,
)

NAME = model_name("carracing")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One store for the module: migrating takes seconds."""
    return tmp_path_factory.mktemp("store")


def an_agent(folder, number):
    """One that knows nothing, unlike those of other numbers."""
    files = write_agent(folder)
    files.starts.write_text(f"agent {number}")
    return as_model("carracing", files)


@pytest.fixture(scope="module")
def registered(root):
    """A client of the store, in which two agents are registered."""
    for number in (1, 2):
        with registering(root, "carracing") as run:
            scores, tags = {"real/mean": float(number)}, {"returns": f"md5-{number}"}
            run.register(an_agent(root / str(number), number), scores, tags)
    return existing_store(default_uri(root))


def test_each_pipeline_makes_a_version_of_its_tasks_model(registered: MlflowClient):
    versions = registered.search_model_versions(f"name = '{NAME}'")
    assert {version.tags["returns"]: version.version for version in versions} == {
        "md5-1": 1,
        "md5-2": 2,
    }


def test_the_champion_is_moved_to_the_version_with_these_scores(registered, tmp_path):
    for number in (2, 1):
        assert promote(registered, "carracing", "returns", f"md5-{number}") == str(number)
        folder = download_version(registered, NAME, "champion", tmp_path / str(number))
        assert (folder / "starts.safetensors").read_text() == f"agent {number}"
    assert promote(registered, "carracing", "returns", "md5-3") is None
    assert promote(registered, "takecover", "returns", "md5-1") is None


def test_a_version_is_a_model_that_holds_no_pickle_and_has_the_scores(registered):
    for number in (1, 2):
        version = registered.get_model_version(NAME, str(number))
        experiment = registered.get_run(version.run_id).info.experiment_id
        source = f"source_run_id = '{version.run_id}'"
        (model,) = registered.search_logged_models([experiment], source)
        assert model.status == "READY"
        assert {one.key: one.value for one in model.metrics} == {"real/mean": number}
        files = [Path(file) for file in files_of(registered, model)]
        assert {"MLmodel", "served.py", "controller.safetensors"} <= {file.name for file in files}
        assert not [file for file in files if file.suffix == ".pkl"]
        assert registered.get_run(version.run_id).data.metrics == {"real/mean": number}


def files_of(client, model):
    folder = Path(model.artifact_location.removeprefix("file://"))
    return [file for file in folder.rglob("*") if file.is_file()]


def test_what_is_registered_again_after_a_failure_makes_no_second_version(registered, root):
    version = registered.get_model_version(NAME, "2")
    again = register(registered, version.run_id, an_agent(root / "2", 2), {}, {})
    assert again == "2"
    experiment = registered.get_run(version.run_id).info.experiment_id
    assert len(registered.search_logged_models([experiment])) == 2


def test_it_is_quiet_also_where_warnings_are_errors(registered, root, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as PYTHONWARNINGS does
        with registering(root, "takecover") as run:
            run.register(as_model("takecover", write_agent(root / "3")), {}, {})
    assert capfd.readouterr() == ("", "")
    assert registered.get_model_version(model_name("takecover"), "1").run_id == run.run_id


def test_a_version_is_taken_out_by_its_number(registered, tmp_path):
    folder = download_version(registered, NAME, "2", tmp_path)
    assert (folder / "starts.safetensors").read_text() == "agent 2"


@pytest.mark.parametrize(
    ("task", "version"), [("carracing", "9"), ("carracing", "best"), ("x", "1")]
)
def test_a_version_that_is_not_there_is_named(registered, tmp_path, task, version):
    with pytest.raises(TrackingError, match=f"world-models-{task}: no version '{version}'"):
        download_version(registered, model_name(task), version, tmp_path)


def test_a_version_whose_files_are_lost_is_named_in_one_line(registered, tmp_path):
    source = registered.get_model_version(NAME, "2").source
    shutil.rmtree(local_file_uri_to_path(source))
    with pytest.raises(TrackingError, match=f"^{NAME}, version 2: .*agent.*$"):
        download_version(registered, NAME, "2", tmp_path)


def test_files_that_find_no_place_are_an_error_with_the_versions_name(registered, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(TrackingError, match=f"{NAME}, version 2: .*taken"):
        download_version(registered, NAME, "2", tmp_path / "taken")


def test_what_two_have_made_at_once_is_not_refused_for_good():
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table datasets (name text unique)")
        database.execute("insert into datasets values ('collect')")
        with pytest.raises(sqlite3.IntegrityError) as twice:
            database.execute("insert into datasets values ('collect')")
    assert not is_permanent(MlflowException(str(twice.value), BAD_REQUEST))
    assert is_permanent(MlflowException("no such thing", BAD_REQUEST))


def test_no_store_is_made_by_looking_for_one(tmp_path):
    with pytest.raises(TrackingError, match="no MLflow store"):
        existing_store(default_uri(tmp_path))
    assert not list(tmp_path.iterdir())
