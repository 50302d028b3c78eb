"""Where runs are kept: a store embedded in the project, or a server."""

import errno
import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from world_models.runtime.errors import ExtraError, TrackingError, WorldModelsError
from world_models.tracking.delivery import first_line
from world_models.tracking.embedded import (
    absolute,
    alone,
    artifact_location,
    database,
    default_uri,
    follow_artifacts,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag by which MLflow's pages choose between those for training models and those for GenAI."""

HINT = "Any type hint is inferred"
"""What MLflow warns of, about its own classes."""

OUTDATED = "mlflow|sqlalchemy|alembic"
"""Modules that call what is outdated. Who turns warnings into errors means their own code's."""

LEVELS = {
    "alembic": logging.WARNING,  # a page of lines on the first use
    "mlflow.store.db.utils": logging.CRITICAL,  # a page for each error, which is raised as well
    "mlflow.pyfunc": logging.WARNING,  # that it tries an agent before it is registered
}
"""What libraries are to say on stderr."""

REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"}
COLLISION = re.compile("unique constraint", re.IGNORECASE)
"""What a database says, and MLflow calls a bad request, where two make the same at once."""
HOPELESS = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP),
}
"""Faults of a path that don't pass, such as those of a server's own folder on another machine."""

# MLflow's own defaults wait up to 498 s for a server that is gone, and draw a bar for each file.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def present_uri(root: Path = Path()) -> str:
    """Returns the address that MLflow's own variable names, or else that of the store embedded in
    the project at `root` (default: the present folder)."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return absolute(named, root) if named else default_uri(root)


def open_store(uri: str) -> "MlflowClient":
    """Returns a client of the store; the first use of an embedded one makes it.

    An embedded store that has been moved with its artifacts is told where they are now. Raises
    ExtraError where MLflow is missing.
    """
    for key, value in _PATIENCE.items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=OUTDATED)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError:
        raise ExtraError("MLflow", "pipeline") from None

    warnings.filterwarnings("ignore", f".*{HINT}")
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    with alone(uri):
        follow_artifacts(uri)
        return MlflowClient(tracking_uri=uri)


def existing_store(uri: str) -> "MlflowClient":
    """Returns a client of a store that is there; raises TrackingError where it is not, or can't be
    read."""
    file = database(uri)
    if file and not file.exists():
        raise TrackingError(f"{file}: no MLflow store; set MLFLOW_TRACKING_URI, or run a stage")
    try:
        return open_store(uri)
    except WorldModelsError:
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's, SQLite's or the system's
        raise TrackingError(f"{file or uri}: {first_line(error)}") from None


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Returns the experiment's id; the experiment is made where there is none."""
    uri = client.tracking_uri
    with alone(uri):
        found: Experiment | None = client.get_experiment_by_name(name)
        if found is not None:
            if KIND not in found.tags:  # of an earlier version
                client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
            return str(found.experiment_id)
        try:
            location = artifact_location(uri, name)
            return str(client.create_experiment(name, location, {KIND: TRAINING}))
        except Exception:
            found = client.get_experiment_by_name(name)  # a stage beside this one was faster
            if found is None:
                raise
            return str(found.experiment_id)


def is_permanent(error: Exception) -> bool:
    """Returns whether a call would fail each time: the store refuses it, it needs a path that is
    not there or can't be written, or something is wrong that a user has to fix."""
    if isinstance(error, OSError):
        return error.errno in HOPELESS
    if isinstance(error, WorldModelsError):
        return True
    from mlflow.exceptions import MlflowException

    refused = isinstance(error, MlflowException) and error.error_code in REFUSALS
    return refused and not COLLISION.search(str(error))
