"""An embedded store in folders of any name, and after they were renamed or copied."""

import shutil
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path

from tests.agents import as_model, write_agent
from world_models import cli
from world_models.tracking.client import existing_store, present_uri
from world_models.tracking.embedded import database
from world_models.tracking.registry import model_name
from world_models.tracking.run import StageRun, stage_run

FOLDER = Path("why?", "feature%2Flander a%20b ü#100%")
"""Each of these characters means something in an address."""


def track(folder: Path, *, agent: bool = False) -> StageRun:
    """A run in the store of the present folder, whose artifact is the file `picture`."""
    (folder / "picture").write_text("seen")
    with stage_run(
        uri=present_uri(),
        experiment="world-models",
        stage="vae",
        task="pendulum",
        scale="smoke",
        revision="abc123",
    ) as run:
        run.log_metrics({"loss": 1.0})
        run.log_artifact(folder / "picture")
        if agent:
            files = write_agent(folder / "agent")
            run.register(as_model("pendulum", files), {"real/mean": 1.0}, {})
    return run


def picture(run: StageRun) -> Path:
    """Where the store of the present folder has the run's artifact."""
    store = existing_store(present_uri())
    (found,) = store.list_artifacts(run.run_id)
    return Path(local_file_uri_to_path(store.get_run(run.run_id).info.artifact_uri), found.path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StageRun]:
    """A project, and its run: to be copied, not changed. A fresh store takes seconds."""
    project = tmp_path_factory.mktemp("made") / FOLDER
    project.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return project, track(project, agent=True)


@pytest.fixture
def copied(
    made: tuple[Path, StageRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, StageRun]:
    """A copy, where commands run; the first project is still there."""
    project, run = made
    copy = tmp_path / FOLDER
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    return copy, run


def test_the_folders_name_may_be_any(
    made: tuple[Path, StageRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, run = made
    monkeypatch.chdir(project)
    seen = existing_store(present_uri()).get_run(run.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.metrics == {"loss": 1.0, "real/mean": 1.0}
    assert picture(run).is_relative_to(project / "mlartifacts")
    assert picture(run).read_text() == "seen"
    cli.main(["video", "pendulum", "--model", "1", "--gif", "--steps", "3"])
    assert Path("pendulum.gif").exists()
    Path("pendulum.gif").unlink()
    outside = set(project.parents[1].rglob("*")) - set(project.rglob("*"))
    assert outside == {project, project.parent}


def test_a_relative_address_is_the_projects_also_where_dvc_runs_it_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "why?"
    monkeypatch.chdir(tmp_path)
    for address in ("", "sqlite:///mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert database(present_uri(project)) == project / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db?timeout=60")
    assert database(present_uri(project)) == project / "mlflow.db"
    assert present_uri(project).endswith("?timeout=60")
    for address in (f"sqlite:///{tmp_path}/runs.db", "http://127.0.0.1:5000"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert present_uri(project) == address


def test_a_copy_has_artifacts_of_its_own(copied: tuple[Path, StageRun]) -> None:
    copy, run = copied
    assert picture(run).is_relative_to(copy / "mlartifacts")
    assert picture(track(copy)).is_relative_to(copy / "mlartifacts")


def test_a_renamed_folder_has_its_artifacts_old_and_new(
    copied: tuple[Path, StageRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, run = copied
    second = track(copy)
    renamed = copy.rename(tmp_path / "ever after")
    monkeypatch.chdir(renamed)
    cli.main(["video", "pendulum", "--model", "1", "--gif", "--steps", "3"])
    runs = [run, second, track(renamed)]
    assert all(picture(one).is_relative_to(renamed / "mlartifacts") for one in runs)
    assert all(picture(one).read_text() == "seen" for one in runs)
    version = existing_store(present_uri()).get_model_version(model_name("pendulum"), "1")
    assert version.source.startswith(renamed.as_uri())
    assert not copy.exists()
