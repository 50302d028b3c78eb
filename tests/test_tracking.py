"""Tracking against a real SQLite store, and against a server that isn't there."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from world_models import tracking

START = """
import sys
from pathlib import Path
from world_models.tracking import default_uri, stage_run
root = Path(sys.argv[1])
with stage_run(uri=default_uri(root), artifact_root=root / "artifacts", experiment="e",
               stage=sys.argv[2], task="t", scale="smoke", revision="r") as run:
    run.log_metrics({"loss": 1.0})
    assert run.run_id
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the module, in a folder whose name has a space: migrating takes seconds."""
    return tmp_path_factory.mktemp("a store")


def open_run(root: Path, stage: str = "vae", uri: str | None = None, **tags: str):
    return tracking.stage_run(
        uri=uri or tracking.default_uri(root),
        artifact_root=root / "artifacts",
        experiment="world-models",
        stage=stage,
        task="carracing",
        scale="smoke",
        revision="abc123",
        tags=tags,
    )


def stored(root: Path, run_id: str) -> Run:
    return MlflowClient(tracking_uri=tracking.default_uri(root)).get_run(run_id)


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
    client = MlflowClient(tracking_uri=tracking.default_uri(root))
    history = client.get_metric_history(run.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(10, 3.0), (20, 2.0)]


def test_name_tags_and_end(root: Path) -> None:
    with open_run(root, dvc_stage="vae@carracing") as run:
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


def test_artifacts_lie_beside_the_store(root: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_text("seen")
    with open_run(root) as run:
        run.log_artifact(tmp_path / "picture.txt")
    base = root / "artifacts" / "world-models" / run.run_id / "artifacts"
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


def test_failures_are_said_once_and_counted(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def gone(*_args: object, **_kwargs: object) -> None:
        tries.append(1)
        raise ConnectionError("server gone")

    with open_run(root) as run:
        monkeypatch.setattr(MlflowClient, "log_batch", gone)
        for step in range(5):
            run.log_metrics({"loss": 0.0}, step=step)
    said = capsys.readouterr().err
    assert len(tries) == 1, "it cools down instead of trying each time"
    assert said.count("server gone") == 1
    assert "5 calls were not logged" in said
    assert stored(root, run.run_id).info.status == "FINISHED"


def test_no_server_costs_no_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = False
    with open_run(tmp_path, uri="http://127.0.0.1:9") as run:
        run.log_params({"a": 1})
        run.log_metrics({"loss": 0.0})
        done = True
    assert done
    assert run.run_id == ""
    assert "vae@carracing goes on without being logged" in capsys.readouterr().err


def test_two_processes_may_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(tmp_path), stage],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for stage in ("vae", "rnn")
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert "without being logged" not in "".join(errors)
    assert not (tmp_path / "mlruns").exists()


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys, world_models.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
