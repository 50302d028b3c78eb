"""MLflow: one run for each stage, and what happens where MLflow can't be reached.

The only module that knows MLflow. Importing it takes seconds, so that happens inside the
functions, in the stages alone. Tracking must never cost a training: what can't be logged is
said once on stderr, dropped, and counted.
"""

import fcntl
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Param

SQLITE = "sqlite:///"
COOL_DOWN_S = 30.0  # after a failure, how long nothing is tried
PARAMS_A_CALL = 100  # MLflow takes no more at once

# MLflow's own defaults wait up to 498 s for a server that is gone.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def default_uri(root: Path) -> str:
    """The store embedded in the project at `root`."""
    return f"{SQLITE}{root.resolve() / 'mlflow.db'}"


@contextmanager
def stage_run(
    *,
    uri: str,
    artifact_root: Path,
    experiment: str,
    stage: str,
    task: str,
    scale: str,
    revision: str,
    tags: Mapping[str, str] | None = None,
) -> Iterator["StageRun"]:
    """One MLflow run, e.g. `vae@carracing`, open as long as the block.

    It ends as FINISHED, as KILLED on Ctrl-C, as FAILED on any other exception, which goes on
    unchanged. Where the store can't be reached the block runs all the same, and logs nothing.
    `artifact_root` holds the artifacts of an embedded store; a server has a place of its own.
    """
    all_tags = {
        "stage": stage,
        "task": task,
        "scale": scale,
        "git_revision": revision,
        "mlflow.source.git.commit": revision,  # MLflow shows this one as the run's version
        "mlflow.source.name": stage,
        **(tags or {}),
    }
    run = _start(uri, artifact_root, experiment, f"{stage}@{task}", all_tags)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except SystemExit as exit_:
        status = "FAILED" if exit_.code else "FINISHED"
        raise
    finally:
        run.end(status)


@dataclass
class StageRun:
    """An open run. No method raises where MLflow fails; `run_id` is "" where it never started."""

    run_id: str
    _client: "MlflowClient | None"
    _dropped: int = 0
    _silent_until: float = field(default=-math.inf, repr=False)
    _said: bool = False

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters; nested ones get dotted names, `vae.batch_size`."""
        from mlflow.entities import Param

        entries = [Param(key, str(value)) for key, value in flatten(params).items()]
        for start in range(0, len(entries), PARAMS_A_CALL):
            self._log_params(entries[start : start + PARAMS_A_CALL])

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, at `step` (0 if there are no steps)."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(key, float(value), now, step or 0) for key, value in metrics.items()]
        self._try("metrics", lambda client: client.log_batch(self.run_id, metrics=entries))

    def log_artifact(self, path: Path) -> None:
        """Copy a file to the run's artifacts."""
        if not path.exists():
            raise FileNotFoundError(path)  # the stage's mistake, not MLflow's
        self._try(path.name, lambda client: client.log_artifact(self.run_id, str(path)))

    def end(self, status: str) -> None:
        """Close the run, and say how much of it was lost."""
        self._silent_until = -math.inf  # the one call that is worth a try in any case
        self._try("the run's end", lambda client: client.set_terminated(self.run_id, status))
        if self._dropped:
            _say(f"{self._dropped} calls were not logged")

    def _log_params(self, entries: "list[Param]") -> None:
        self._try("parameters", lambda client: client.log_batch(self.run_id, params=entries))

    def _try(self, what: str, call: Callable[["MlflowClient"], object]) -> None:
        if self._client is None:
            return
        if time.monotonic() < self._silent_until:
            self._dropped += 1
            return
        try:
            call(self._client)
        except Exception as error:  # whatever it is, it isn't worth the training
            self._dropped += 1
            self._silent_until = time.monotonic() + COOL_DOWN_S
            self._say_once(what, error)

    def _say_once(self, what: str, error: Exception) -> None:
        if not self._said:
            _say(f"not logged: {what} ({_first_line(error)}); going on, and trying again")
            self._said = True


def flatten(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """`{"vae": {"z": 32}}` as `{"vae.z": 32}`."""
    flat: dict[str, object] = {}
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _start(
    uri: str, artifact_root: Path, experiment: str, name: str, tags: Mapping[str, str]
) -> StageRun:
    try:
        client, experiment_id = _open(uri, artifact_root, experiment)
        run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    except Exception as error:  # whatever it is, it isn't worth the training
        _say(f"{name} goes on without being logged: {_first_line(error)}")
        return StageRun("", None)
    return StageRun(run.info.run_id, client)


def _open(uri: str, artifact_root: Path, experiment: str) -> tuple["MlflowClient", str]:
    for key, value in _PATIENCE.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):  # a page of lines on the first use
        logging.getLogger(name).setLevel(logging.WARNING)
    with _alone(uri):
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment_id(client, uri, artifact_root, experiment)


def _experiment_id(client: "MlflowClient", uri: str, artifact_root: Path, name: str) -> str:
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = uri.startswith(SQLITE)
    location = (artifact_root.resolve() / name).as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:
        found = client.get_experiment_by_name(name)  # a stage beside this one was faster
        if found is None:
            raise
        return str(found.experiment_id)


def _alone(uri: str) -> AbstractContextManager[None]:
    """Hold other processes off an embedded store: two first uses at once would collide."""
    if not uri.startswith(SQLITE):
        return nullcontext()
    return _locked(Path(uri.removeprefix(SQLITE) + ".lock"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file closes, or the process dies
        yield


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _say(line: str) -> None:
    print(f"tracking: {line}", file=sys.stderr, flush=True)
