"""What the store remembers of stages that have run."""

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

from world_models.runtime.errors import TrackingError
from world_models.tracking.client import existing_store
from world_models.tracking.run import finished_run

OUTPUTS = "dvc.outputs"
"""The tag of what a run has written."""


def digest(outputs: Mapping[str, str]) -> str:
    """Returns one md5 for those of several files and folders, by path."""
    return hashlib.md5(json.dumps(outputs, sort_keys=True).encode()).hexdigest()


class PastRun(NamedTuple):
    """How a stage was run."""

    seconds: float
    """From its beginning to its end, pauses included where it was stopped and went on."""
    revision: str
    """The commit that it was run with."""
    precision: str
    """What `auto` was on that machine: bfloat16 or float32."""
    machine: str
    """What it ran on; empty where that was not noted."""


def past_run(uri: str, experiment: str, outputs: Mapping[str, str]) -> PastRun | None:
    """Returns the run that first made these outputs, md5 by path, if the store has it.

    Raises TrackingError where there is no store, or where it does not answer.
    """
    from mlflow.exceptions import MlflowException

    client = existing_store(uri)
    try:
        group = client.get_experiment_by_name(experiment)
        if group is None:
            return None
        run = finished_run(client, group.experiment_id, {OUTPUTS: digest(outputs)})
    except MlflowException as error:
        raise TrackingError(f"{uri}: {error.message}") from None
    if run is None:
        return None
    taken, tags = (run.info.end_time - run.info.start_time) / 1000, run.data.tags
    noted = (tags.get(name, "") for name in ("precision.auto", "machine"))
    return PastRun(round(taken, 1), tags["git_revision"], *noted)
