"""Agents as model versions: V, M and C with their scores, one of them the champion."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from world_models.runtime.errors import TrackingError, one_line
from world_models.tasks.base import FRAME_SIZE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
"""The alias of the version whose scores are the baseline."""
FOLDER = "agent"
"""What a run's model is called, and the folder of the agent's files in it."""
MODEL = "model"


def model_name(task: str) -> str:
    """Returns the name that a task's agents are registered under."""
    return f"world-models-{task}"


@dataclass(frozen=True)
class AgentModel:
    """An agent as a model of MLflow's."""

    task: str
    files: Sequence[Path]
    """The agent's own."""
    code: Path
    """The script that loads it: one that calls `mlflow.models.set_model`."""
    action_size: int
    hidden_size: int
    """Numbers in M's hidden state, and in its cell state."""
    requirement: str
    """What has to be installed where the model is loaded, as pip is told it."""


def register(
    client: "MlflowClient",
    run: str,
    agent: AgentModel,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    """Logs an agent as a model of its run, and makes that the next version of its task's model.

    `metrics` are logged as the model's, and so as the run's too. Returns the version. May be called
    again after a failure: a run has one model and one version.
    """
    model = _model(client, run)
    _log_metrics(client, run, model, metrics)  # before the files, which may find no room
    _complete(client, run, model, agent)
    name = model_name(agent.task)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    made = found[0] if found else _version(client, name, model, tags)
    # By this tag its pages know which version a model is.
    known = json.dumps([{"name": name, "version": str(made.version)}])
    client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": known})
    return str(made.version)


def _version(
    client: "MlflowClient", name: str, model: "LoggedModel", tags: Mapping[str, str]
) -> "ModelVersion":
    # Not `models:/ID`, which MLflow looks up in whatever store it holds for the present one.
    source, run, own = model.artifact_location, model.source_run_id, model.model_id
    # A server wants to know whose files these are.
    return client.create_model_version(name, source, run, dict(tags), model_id=own)


def _model(client: "MlflowClient", run: str) -> "LoggedModel":
    """The run's model."""
    experiment = client.get_run(run).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run}'", max_results=1)
    return found[0] if found else client.create_logged_model(experiment, FOLDER, run)


def _log_metrics(
    client: "MlflowClient", run: str, model: "LoggedModel", metrics: Mapping[str, float]
) -> None:
    from mlflow.entities import Metric

    now = model.creation_timestamp  # the same when it is done again
    values = [Metric(key, value, now, 0, model.model_id) for key, value in metrics.items()]
    client.log_batch(run, metrics=values)


def _complete(client: "MlflowClient", run: str, model: "LoggedModel", agent: AgentModel) -> None:
    """Gives a model its files, if it has none yet."""
    if str(model.status) == "READY":
        return
    with tempfile.TemporaryDirectory(prefix="world-models-") as folder:
        _save(Path(folder), agent, run, model.model_id)
        client.log_model_artifacts(model.model_id, str(Path(folder, MODEL)))
    client.finalize_logged_model(model.model_id, "READY")


def _save(folder: Path, agent: AgentModel, run: str, model: str) -> None:
    """Writes a model to a folder inside this one, for `served.py`'s arrays."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    memory = np.zeros((1, agent.hidden_size), np.float32)
    state = {"hidden": memory, "cell": memory}
    inputs = {"frame": np.zeros((1, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)} | state
    outputs = {"action": np.zeros((1, agent.action_size), np.float32)} | state

    def schema(arrays: Mapping[str, np.ndarray]) -> Schema:
        return Schema([TensorSpec(one.dtype, (-1, *one.shape[1:]), n) for n, one in arrays.items()])

    params = [ParamSpec(n, DataType.long, value) for n, value in (("seed", -1), ("step", 0))]
    signature = ModelSignature(schema(inputs), schema(outputs), ParamSchema(params))
    (folder / FOLDER).mkdir()
    for file in agent.files:
        shutil.copyfile(file, folder / FOLDER / file.name)
    # It asks for type hints, also of a model that has a signature, and no filter stops that.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            folder / MODEL,
            python_model=str(agent.code),
            artifacts={FOLDER: str(folder / FOLDER)},
            signature=signature,
            input_example=inputs,
            pip_requirements=[agent.requirement],
            mlflow_model=Model(run_id=run, model_id=model),
        )


def versions(client: "MlflowClient") -> list[tuple[str, str]]:
    """Returns name and number of every agent's version; raises TrackingError where the store does
    not answer."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.search_model_versions(f"name LIKE '{model_name('%')}'")
    except MlflowException as error:
        raise TrackingError(f"{client.tracking_uri}: {error.message}") from None
    return [
        (one.name, str(one.version))
        for one in sorted(found, key=lambda one: (one.name, int(one.version)))
    ]


def artifacts_of_versions(client: "MlflowClient", name: str) -> list[str]:
    """Returns an artifact of each run that a version of any model is of, as text, where it has one.

    Raises TrackingError where the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    found = []
    with tempfile.TemporaryDirectory(prefix="world-models-") as folder:
        try:
            for run in {one.run_id for one in client.search_model_versions() if one.run_id}:
                if name in {file.path for file in client.list_artifacts(run)}:
                    found.append(Path(client.download_artifacts(run, name, folder)).read_text())
        except MlflowException as error:
            raise TrackingError(f"{client.tracking_uri}: {error.message}") from None
    return found


def promote(client: "MlflowClient", task: str, tag: str, value: str) -> str | None:
    """Makes the newest version with this tag the champion; returns it, or None without one."""
    name = model_name(task)
    found = client.search_model_versions(
        f"name = '{name}' and tags.{tag} = '{value}'",
        max_results=1,
        order_by=["version_number DESC"],
    )
    if not found:
        return None
    version = str(found[0].version)
    client.set_registered_model_alias(name, CHAMPION, version)
    return version


def download_version(client: "MlflowClient", name: str, version: str, folder: str | Path) -> Path:
    """Downloads the files of a model's version, named by its number or an alias, and returns the
    folder where they are.

    Raises TrackingError where there is no such version, or its files don't arrive.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        if version.isdigit():
            found = client.get_model_version(name, version)
        else:
            found = client.get_model_version_by_alias(name, version)
    except MlflowException as error:
        raise TrackingError(f"{name}: no version {version!r}: {error.message}") from None
    try:
        return Path(
            download_artifacts(
                artifact_uri=f"{found.source}/artifacts/{FOLDER}",
                dst_path=str(folder),
                tracking_uri=client.tracking_uri,
            )
        )
    except (MlflowException, OSError) as error:  # OSError: a server's, as requests has it
        raise TrackingError(f"{name}, version {version}: {one_line(error)}") from None
