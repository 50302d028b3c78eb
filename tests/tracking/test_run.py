"""Runs in a real SQLite store."""

import math
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.waiting import wait_for
from world_models.tracking.embedded import default_uri
from world_models.tracking.run import stage_run

START = """
import sys
from pathlib import Path
from world_models.tracking.run import stage_run
from world_models.tracking.embedded import default_uri
root = Path(sys.argv[1])
with stage_run(uri=default_uri(root), experiment="e",
               stage=sys.argv[2], task="t", scale="smoke", revision="r") as run:
    run.log_metrics({"loss": 1.0})
print(run.run_id)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the module, in a folder whose name has a space: migrating takes seconds."""
    return tmp_path_factory.mktemp("a store")


def open_run(root: Path, stage: str = "vae", id_file: Path | None = None, **tags: str):
    return stage_run(
        uri=default_uri(root),
        experiment="world-models",
        stage=stage,
        task="carracing",
        scale="smoke",
        revision="abc123",
        tags=tags,
        id_file=id_file,
    )


def stored(root: Path, run_id: str) -> Run:
    return MlflowClient(tracking_uri=default_uri(root)).get_run(run_id)


def test_params_are_flattened(root: Path) -> None:
    many = {f"p{i}": i for i in range(120)}
    with open_run(root) as run:
        run.log_params({"vae": {"z": 32, "net": {"width": 8}}, "seed": 1, **many})
    params = stored(root, run.run_id).data.params
    assert params["vae.z"] == "32"
    assert params["vae.net.width"] == "8"
    assert params["seed"] == "1"
    assert len(params) == 123


def test_metrics_keep_their_steps(root: Path) -> None:
    with open_run(root) as run:
        for step, loss in [(10, 3.0), (20, 2.0)]:
            run.log_metrics({"loss": loss, "kl": 1.0}, step=step)
        run.log_metrics({"bad": float("nan")})
    client = MlflowClient(tracking_uri=default_uri(root))
    history = client.get_metric_history(run.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(10, 3.0), (20, 2.0)]
    (bad,) = client.get_metric_history(run.run_id, "bad")
    assert math.isnan(bad.value)


def test_name_tags_and_end(root: Path) -> None:
    with open_run(root, dvc_stage="vae@carracing") as run:
        wait_for(lambda: run.run_id)
        assert stored(root, run.run_id).info.status == "RUNNING"
    seen = stored(root, run.run_id)
    assert seen.info.run_name == "vae@carracing"
    assert seen.info.status == "FINISHED"
    expected = {
        "stage": "vae",
        "task": "carracing",
        "scale": "smoke",
        "git_revision": "abc123",
        "dvc_stage": "vae@carracing",
    }
    assert expected.items() <= seen.data.tags.items()


def test_what_a_run_reads_is_a_data_set_of_it(root: Path) -> None:
    md5 = "0123456789abcdef0123456789abcdef.dir"
    with open_run(root) as run:
        run.log_dataset("data/carracing/episodes", md5)
    (seen,) = stored(root, run.run_id).inputs.dataset_inputs
    assert (seen.dataset.name, seen.dataset.digest) == ("data/carracing/episodes", md5)
    assert "data/carracing/episodes" in seen.dataset.source


def test_artifacts_lie_beside_the_store(root: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_text("seen")
    with open_run(root) as run:
        run.log_artifact(tmp_path / "picture.txt")
    base = root / "mlartifacts" / "world-models" / run.run_id / "artifacts"
    assert (base / "picture.txt").read_text() == "seen"


def test_a_missing_artifact_is_the_stage_s_mistake(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_run(root) as run:
        run.log_artifact(tmp_path / "nothing")
    assert stored(root, run.run_id).info.status == "FAILED"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("nan"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit("one line"), "FAILED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_status_tells_how_it_ended(root: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), open_run(root) as run:
        raise error
    assert stored(root, run.run_id).info.status == status


def test_runs_share_an_experiment(root: Path) -> None:
    with open_run(root, "vae") as first, open_run(root, "rnn") as second:
        pass
    ids = {stored(root, run.run_id).info.experiment_id for run in (first, second)}
    assert first.run_id != second.run_id
    assert len(ids) == 1


def test_a_run_that_was_killed_is_continued(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "run"
    with suppress(KeyboardInterrupt), open_run(root, id_file=file) as first:
        first.log_metrics({"loss": 3.0}, step=1)
        raise KeyboardInterrupt
    assert file.read_text() == first.run_id
    assert stored(root, first.run_id).info.status == "KILLED"
    with open_run(root, id_file=file) as second:
        second.log_metrics({"loss": 2.0}, step=2)
    assert second.run_id == first.run_id
    assert stored(root, first.run_id).info.status == "FINISHED"
    history = MlflowClient(tracking_uri=default_uri(root)).get_metric_history(first.run_id, "loss")
    assert [metric.value for metric in history] == [3.0, 2.0]


def test_of_parameters_that_differ_when_a_run_goes_on_one_by_one_is_lost(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run"
    with open_run(root, id_file=file) as run:
        run.log_params({"machine": {"workers": 4}, "seed": 1})
    with open_run(root, id_file=file) as run:
        run.log_params({"machine": {"workers": 2, "memory": 8}, "seed": 1, "vae": {"z": 32}})
    seen = stored(root, run.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.params == {
        "machine.workers": "4",
        "machine.memory": "8",
        "seed": "1",
        "vae.z": "32",
    }
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("tracking: not logged: the parameter machine.workers (Changing param ")
    assert last == "tracking: lost: the parameter machine.workers (1)"


def test_a_run_of_another_store_is_not_continued(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("0" * 32)
    with open_run(root, id_file=tmp_path / "run") as run:
        pass
    assert run.run_id != "0" * 32
    assert (tmp_path / "run").read_text() == run.run_id
    assert stored(root, run.run_id).info.status == "FINISHED"


def test_a_start_whose_answer_was_lost_makes_no_second_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, created = MlflowClient.create_run, []

    def unheard(*arguments: Any, **more: Any) -> Any:
        created.append(create(*arguments, **more).info.run_id)
        raise ConnectionError("timed out")

    monkeypatch.setattr(MlflowClient, "create_run", unheard)
    with open_run(root) as run:
        run.log_metrics({"loss": 1.0})
    assert created == [run.run_id]
    assert stored(root, run.run_id).data.metrics == {"loss": 1.0}


def test_two_processes_may_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(tmp_path), stage],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for stage in ("vae", "rnn")
    ]
    ids, errors = zip(*(process.communicate(timeout=120) for process in processes), strict=True)
    assert [process.returncode for process in processes] == [0, 0], errors
    assert errors == ("", "")
    assert all(len(run_id.strip()) == 32 for run_id in ids)
    assert not (tmp_path / "mlruns").exists()


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys, world_models.tracking.run; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
