"""What an embedded store keeps on the disk for runs and models, and how that goes for good."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from world_models.runtime.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

A_PAGE = 1000
"""Runs or models that are asked for at once."""


class Stored(NamedTuple):
    """A run or a model."""

    id: str
    is_run: bool
    files: Path
    """The folder of its artifacts."""
    deleted: bool
    """It was deleted, or is a model of a run that was."""
    registered: bool
    """A registered version is made of it."""


def stored(client: "MlflowClient") -> list[Stored]:
    """Returns all runs and models, those that were deleted too.

    Raises TrackingError where the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        return list(_stored(client))
    except MlflowException as error:
        raise TrackingError(f"{client.tracking_uri}: {error.message}") from None


def discard(client: "MlflowClient", one: Stored) -> None:
    """Removes a run or a model for good, with its files.

    `mlflow gc` does the same, but of all that was deleted, wherever its files lie, and also where a
    registered version is made of it.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(one.files.as_uri()).delete_artifacts()
    store = _store(client)
    (store._hard_delete_run if one.is_run else store._hard_delete_logged_model)(one.id)


def _stored(client: "MlflowClient") -> Iterator[Stored]:
    from mlflow.entities import ViewType

    versions = _all(client.search_model_versions)
    sources = [(one.run_id, _folder(one.source)) for one in versions]

    def described(id_: str, uri: str, is_run: bool, deleted: bool) -> Stored:
        files = _folder(uri)
        registered = any(run == id_ or source.is_relative_to(files) for run, source in sources)
        return Stored(id_, is_run, files, deleted, registered)

    groups = _all(client.search_experiments, view_type=ViewType.ALL)
    experiments = [group.experiment_id for group in groups]
    runs = _all(client.search_runs, experiment_ids=experiments, run_view_type=ViewType.ALL)
    alive = {run.info.run_id for run in runs if run.info.lifecycle_stage == "active"}
    for info in (run.info for run in runs):
        yield described(info.run_id, info.artifact_uri, True, info.run_id not in alive)
    for model in _all(client.search_logged_models, experiment_ids=experiments):
        gone = bool(model.source_run_id) and model.source_run_id not in alive
        yield described(model.model_id, model.artifact_location, False, gone)
    store = _store(client)
    for number in store._get_deleted_logged_models():  # the client has no call for these
        model = store.get_logged_model(number, allow_deleted=True)
        yield described(number, model.artifact_location, False, True)


def _all(search: Callable[..., Any], **arguments: Any) -> list[Any]:
    """All that a search of several pages finds."""
    from mlflow.utils import get_results_from_paginated_fn

    def page(size: int, token: str | None) -> Any:
        return search(**arguments, max_results=size, page_token=token)

    found: list[Any] = get_results_from_paginated_fn(page, A_PAGE)
    return found


def _store(client: "MlflowClient") -> Any:
    """What the client talks to; what `mlflow gc` calls is there alone."""
    return client._tracking_client.store


def _folder(uri: str) -> Path:
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(uri))
