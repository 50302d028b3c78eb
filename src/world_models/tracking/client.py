"""Where runs are kept: a store embedded in the project, or a server."""

import logging
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from world_models.runtime.errors import ExtraError, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

SQLITE = "sqlite:///"

KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag by which MLflow's pages choose between those for training models and those for GenAI."""

HINTS = ("Any type hint is inferred", "Add type hints to the `predict` method")
"""What MLflow warns of, about its own classes and about models that have a signature."""

# MLflow's own defaults wait up to 498 s for a server that is gone.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def default_uri(root: Path) -> str:
    """Returns the address of the store embedded in the project at `root`."""
    return f"{SQLITE}{root.resolve() / 'mlflow.db'}"


def present_uri() -> str:
    """Returns the address that MLflow's own variable names, or else that of the store embedded in
    the present folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri(Path())


def open_store(uri: str) -> "MlflowClient":
    """Returns a client of the store; the first use of an embedded one makes it.

    Raises ExtraError where MLflow is missing.
    """
    for key, value in _PATIENCE.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError:
        raise ExtraError("MLflow", "pipeline") from None

    for said in HINTS:
        warnings.filterwarnings("ignore", f".*{said}")
    for name in ("alembic", "mlflow.store.db.utils"):  # a page of lines on the first use
        logging.getLogger(name).setLevel(logging.WARNING)
    with _alone(uri):
        return MlflowClient(tracking_uri=uri)


def existing_store(uri: str) -> "MlflowClient":
    """Returns a client of a store that is there; raises TrackingError where it is not."""
    path = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not path.exists():
        raise TrackingError(f"{path}: no MLflow store; set MLFLOW_TRACKING_URI, or run a stage")
    return open_store(uri)


def experiment_id(client: "MlflowClient", artifact_root: Path, name: str) -> str:
    """Returns the experiment's id; the experiment is made where there is none.

    `artifact_root` holds the artifacts of an embedded store; a server has a place of its own.
    """
    uri = client.tracking_uri
    with _alone(uri):
        found: Experiment | None = client.get_experiment_by_name(name)
        if found is not None:
            if KIND not in found.tags:  # of an earlier version
                client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
            return str(found.experiment_id)
        location = (artifact_root.resolve() / name).as_uri() if uri.startswith(SQLITE) else None
        try:
            return str(client.create_experiment(name, location, {KIND: TRAINING}))
        except Exception:
            found = client.get_experiment_by_name(name)  # a stage beside this one was faster
            if found is None:
                raise
            return str(found.experiment_id)


def is_permanent(error: Exception) -> bool:
    """Returns whether a call would fail each time: the store refused it, or a file is gone."""
    from mlflow.exceptions import MlflowException

    refusals = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"}
    refused = isinstance(error, MlflowException) and error.error_code in refusals
    return refused or isinstance(error, FileNotFoundError)


def _alone(uri: str) -> AbstractContextManager[object]:
    """Hold other processes off an embedded store: two first uses at once would collide."""
    if not uri.startswith(SQLITE):
        return nullcontext()
    from filelock import FileLock

    path = Path(uri.removeprefix(SQLITE) + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)
