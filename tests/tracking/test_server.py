"""A real MLflow server that dies, hangs and comes back while a stage is at work."""

import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.agents import as_model, write_agent
from tests.servers import MLflowServer, free_port
from tests.waiting import stderr, wait_for
from world_models.runtime.errors import TrackingError
from world_models.tracking import delivery
from world_models.tracking.client import existing_store
from world_models.tracking.registry import download_version, model_name, versions
from world_models.tracking.run import StageRun, stage_run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """One for all tests, up or not: to start takes it many seconds."""
    one = MLflowServer(tmp_path_factory.mktemp("server"))
    try:
        yield one
    finally:
        one.kill()


@pytest.fixture
def running(server: MLflowServer) -> MLflowServer:
    """The same, up."""
    if server.process is None:
        server.start()
    return server


@pytest.fixture
def patient(
    running: MLflowServer, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> MLflowServer:
    """The same, which on a busy machine may take over a second to answer, and which closes the
    connection after a fault of its own."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again after a tenth of a second, and gives a request up after a second."""
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(delivery, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def open_run(uri: str, experiment: str = "world-models"):
    return stage_run(
        uri=uri,
        experiment=experiment,
        stage="vae",
        task="carracing",
        scale="smoke",
        revision="abc123",
    )


def train(run: StageRun, first: int) -> float:
    """Ten batches with a metric each, and the longest of them in seconds."""
    longest = 0.0
    for step in range(first, first + 10):
        start = time.monotonic()
        run.log_metrics({"loss": float(step)}, step)
        longest = max(longest, time.monotonic() - start)
    return longest


def losses(server: MLflowServer, run: StageRun) -> list[float]:
    client = MlflowClient(tracking_uri=server.uri)
    return [metric.value for metric in client.get_metric_history(run.run_id, "loss")]


def status(server: MLflowServer, run: StageRun) -> str:
    return str(MlflowClient(tracking_uri=server.uri).get_run(run.run_id).info.status)


def test_a_server_that_comes_up_late_gets_the_whole_run(server, monkeypatch):
    """It begins and ends with its stage, whenever the server hears of it."""
    monkeypatch.setattr(delivery, "PATIENCE_S", 120)
    server.kill()
    starting = threading.Thread(target=server.start)
    begun = time.time()
    with open_run(server.uri) as run:
        train(run, 0)
        assert run.run_id == ""
        starting.start()
        left = time.time()
    starting.join()
    assert losses(server, run) == list(range(10))
    assert status(server, run) == "FINISHED"
    info = MlflowClient(tracking_uri=server.uri).get_run(run.run_id).info
    assert begun - 0.01 <= info.start_time / 1000 <= info.end_time / 1000 <= left + 0.5


def test_a_server_gets_metrics_and_artifacts(patient, tmp_path, capsys):
    (tmp_path / "scores.json").write_text("{}")
    with open_run(patient.uri) as run:
        train(run, 0)
        run.log_artifact(tmp_path / "scores.json")
    assert losses(patient, run) == list(range(10))
    artifacts = MlflowClient(tracking_uri=patient.uri).list_artifacts(run.run_id)
    assert [artifact.path for artifact in artifacts] == ["scores.json"]
    assert status(patient, run) == "FINISHED"
    assert capsys.readouterr().err == ""


def test_a_server_gets_an_agent_that_can_be_taken_out_again(patient, tmp_path, capsys):
    files = write_agent(tmp_path / "agent")
    with open_run(patient.uri) as run:
        run.register(as_model("pendulum", files), {"real/mean": 1.0}, {})
    assert "tracking: " not in capsys.readouterr().err
    store, name = existing_store(patient.uri), model_name("pendulum")
    found = download_version(store, name, "1", tmp_path / "found")
    assert (found / files.rnn.name).read_bytes() == files.rnn.read_bytes()
    assert store.get_model_version(name, "1").run_id == run.run_id


def test_a_server_that_dies_and_comes_back_has_it_all_in_the_end(running):
    with stderr() as said, open_run(running.uri) as run:
        train(run, 0)
        wait_for(lambda: run.run_id)
        running.kill()
        assert train(run, 10) < 0.1
        wait_for(lambda: "not logging for now" in said.getvalue())
        running.start()
        train(run, 20)
    assert losses(running, run) == list(range(30))
    assert status(running, run) == "FINISHED"
    assert "tracking: logging again, " in said.getvalue()


def test_a_server_that_hangs_holds_nothing_up(running, capsys):
    with open_run(running.uri) as run:
        wait_for(lambda: run.run_id)
        running.signal(signal.SIGSTOP)
        assert train(run, 0) < 0.1
        time.sleep(1.5)
        assert train(run, 10) < 0.1
        running.signal(signal.SIGCONT)
    assert losses(running, run) == list(range(20))
    assert status(running, run) == "FINISHED"
    assert "lost" not in capsys.readouterr().err


def log_pictures(run: StageRun, folder: Path) -> None:
    """Metrics, with two artifacts among them."""
    for number in range(2):
        train(run, 10 * number)
        (folder / f"picture-{number}").write_text("seen")
        run.log_artifact(folder / f"picture-{number}")


def test_artifacts_that_have_no_place_on_this_machine_are_lost_alone(patient, tmp_path, capsys):
    """As those of a server that was started with --no-serve-artifacts."""
    (tmp_path / "file").touch()
    client = MlflowClient(tracking_uri=patient.uri)
    client.create_experiment("unserved", (tmp_path / "file" / "artifacts").as_uri())
    with open_run(patient.uri, "unserved") as run:
        log_pictures(run, tmp_path)
    assert losses(patient, run) == list(range(20))
    assert status(patient, run) == "FINISHED"
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("tracking: not logged: picture-0 ([Errno 20] Not a directory: ")
    assert said[-1] == "tracking: lost: picture-0 (1), picture-1 (1)"
    tags = client.get_run(run.run_id).data.tags
    assert tags["lost.picture-1"].startswith("[Errno 20] Not a directory: ")


def test_artifacts_that_a_server_can_not_store_are_lost_alone(
    patient, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.5)
    client = MlflowClient(tracking_uri=patient.uri)
    folder = patient.folder / "artifacts" / client.create_experiment("unstorable")
    folder.parent.mkdir(exist_ok=True)
    folder.touch()
    with open_run(patient.uri, "unstorable") as run:
        log_pictures(run, tmp_path)
    assert losses(patient, run) == list(range(20))
    assert status(patient, run) == "FINISHED"
    said = capsys.readouterr().err.splitlines()
    (lost,) = (line for line in said if line.startswith("tracking: not logged: "))
    assert "picture-0 (API request to " in lost
    assert said[-1] == "tracking: lost: picture-0 (1), picture-1 (1)"


class Refusing(BaseHTTPRequestHandler):
    """Knows nobody."""

    def do_GET(self) -> None:
        """401."""
        self.send_error(401, "who are you?")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_server_that_refuses_the_credentials_costs_no_training(monkeypatch, capsys):
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.5)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-secret")
    refusing = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=refusing.serve_forever, daemon=True).start()
    try:
        with open_run(f"http://127.0.0.1:{refusing.server_port}") as run:
            assert train(run, 0) < 0.1
    finally:
        refusing.shutdown()
        refusing.server_close()
    said = capsys.readouterr().err
    assert said.count("not logging for now") == 1
    assert "401" in said
    assert "lost: the run's start (1), metrics (10), the run's end (1)" in said
    assert "a-secret" not in said


def test_a_password_in_the_address_is_in_no_message(monkeypatch, capsys):
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.5)
    address = f"http://somebody:a-secret@127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match=r"^http://127\.0\.0\.1:.*refused") as asked:
        versions(existing_store(address))
    assert "a-secret" not in str(asked.value)
    with open_run(address) as run:
        train(run, 0)
    said = capsys.readouterr().err
    assert "not logging for now" in said
    assert "a-secret" not in said


def test_no_server_at_all_costs_no_training(monkeypatch, capsys):
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.5)
    with open_run(f"http://127.0.0.1:{free_port()}") as run:
        assert train(run, 0) < 0.1
    assert run.run_id == ""
    assert "lost: the run's start (1), metrics (10), the run's end (1)" in capsys.readouterr().err
