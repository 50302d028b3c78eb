"""Agents as model versions: V, M and C with their scores, one of them the champion."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from world_models.runtime.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
"""The alias of the version whose scores are the baseline."""
FOLDER = "agent"
"""The folder of a version's files, in its run's artifacts."""


def model_name(task: str) -> str:
    """Returns the name that a task's agents are registered under."""
    return f"world-models-{task}"


def register(
    client: "MlflowClient", run: str, task: str, files: Iterable[Path], tags: Mapping[str, str]
) -> None:
    """Copies an agent's files to its run, and makes that the next version of the task's model.

    May be called again after a failure: a run has one version.
    """
    name = model_name(task)
    for file in files:
        client.log_artifact(run, str(file), FOLDER)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    if not client.search_model_versions(f"name = '{name}' and run_id = '{run}'"):
        client.create_model_version(name, f"runs:/{run}/{FOLDER}", run, tags=dict(tags))


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

    Raises TrackingError where there is no such version.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        if version.isdigit():
            found = client.get_model_version(name, version)
        else:
            found = client.get_model_version_by_alias(name, version)
        return Path(
            download_artifacts(
                run_id=found.run_id,
                artifact_path=FOLDER,
                dst_path=str(folder),
                tracking_uri=client.tracking_uri,
            )
        )
    except MlflowException as error:
        raise TrackingError(f"{name}: no version {version!r}: {error.message}") from None
