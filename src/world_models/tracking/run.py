"""One MLflow run for each stage. Tracking must never cost a training: see `delivery`."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from world_models.runtime.files import atomic_write
from world_models.tracking import registry
from world_models.tracking.client import experiment_id, is_permanent, open_store
from world_models.tracking.delivery import Delivery

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARAMS_A_CALL = 100
"""MLflow takes no more at once."""


@dataclass
class StageRun:
    """An open run. No method but `end` waits for MLflow, and none raises where it fails.

    Without a `delivery` nothing is logged.
    """

    delivery: Delivery | None = None
    run_id: str = ""
    """Empty until the store has answered."""
    client: "MlflowClient | None" = None
    _version: tuple[str, str] | None = None
    """Name and number of the model's version that it has registered."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs parameters; nested ones get dotted names, `vae.batch_size`."""
        entries = list(flatten(params).items())
        for start in range(0, len(entries), PARAMS_A_CALL):
            self._send_params("parameters", entries[start : start + PARAMS_A_CALL])

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None = None, at: float | None = None
    ) -> None:
        """Logs numbers, at `step` (0 if there are no steps) and `at` a time (default: now).

        The time is in seconds since 1970. Equal numbers of one time are logged once, however often
        they are sent.
        """
        self._send("metrics", partial(_log_metrics, dict(metrics), _milliseconds(at), step or 0))

    def log_artifact(self, path: Path) -> None:
        """Copies a file, which has to stay for as long as the run, to the run's artifacts."""
        if not path.exists():
            raise FileNotFoundError(path)  # the stage's mistake, not MLflow's
        file = str(path.resolve())
        self._send(path.name, lambda client, run: client.log_artifact(run, file))

    def log_dataset(self, path: str, md5: str) -> None:
        """Logs a data set that the run reads: a path in the project, with what DVC hashed it to."""
        self._send("data sets", partial(_log_dataset, path, md5))

    def log_lineage(self, lineage: Mapping[str, Mapping[str, str]]) -> None:
        """Keeps, as the artifact lineage.json, the md5 of what the run has read and written."""
        kept = dict(lineage)
        self._send("lineage", lambda client, run: client.log_dict(run, kept, "lineage.json"))

    def describe(self, text: str, stages: Mapping[str, str] | None = None) -> None:
        """Sets the run's description, in Markdown.

        `stages` are DVC's keys by name: links to the runs that first finished each of them are
        added, and to the agent, if the run has registered one.
        """

        def describe(client: "MlflowClient", run: str) -> None:
            parts = [text, _agent_link(*self._version) if self._version else ""]
            parts += [_stage_links(client, run, stages)] if stages else []
            note = "\n\n".join(part for part in parts if part)
            client.set_tag(run, "mlflow.note.content", note)

        self._send("the description", describe)

    def register(
        self, agent: registry.AgentModel, metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Logs an agent as the run's model, with its metrics, and makes it the next version of the
        task's."""

        def register(client: "MlflowClient", run: str) -> None:
            version = registry.register(client, run, agent, metrics, tags)
            self._version = registry.model_name(agent.task), version

        self._send("the model version", register)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags; one that is there is replaced."""
        self._send("tags", partial(_set_tags, dict(tags)))

    def end(self, status: str) -> None:
        """Closes the run, and says what was lost, if anything."""
        if self.delivery is not None:
            now = _milliseconds()
            self._send("the run's end", lambda client, run: client.set_terminated(run, status, now))
            self.delivery.close()

    def _send_params(self, what: str, entries: Sequence[tuple[str, object]]) -> None:
        def send(client: "MlflowClient", run: str) -> None:
            from mlflow.exceptions import MlflowException

            try:
                _log_params(entries, client, run)
            except MlflowException as error:
                if len(entries) == 1 or error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                for entry in entries:  # one has another value than before; it alone is lost
                    self._send_params(f"the parameter {entry[0]}", [entry])

        self._send(what, send)

    def _send(self, what: str, call: "Callable[[MlflowClient, str], object]") -> None:
        def make() -> None:
            if self.client is None:
                raise NotStartedError
            call(self.client, self.run_id)

        if self.delivery is not None:
            self.delivery.put(what, make)


class NotStartedError(Exception):
    """The store has refused to begin the run, so it takes nothing of it."""


@contextmanager
def stage_run(
    *,
    uri: str,
    experiment: str,
    stage: str,
    task: str,
    scale: str,
    revision: str,
    tags: Mapping[str, str] | None = None,
    id_file: Path | None = None,
) -> Iterator[StageRun]:
    """Opens one MLflow run, e.g. `vae@carracing`, for as long as the block.

    It ends as FINISHED, also where the block exits with code 0, as KILLED on Ctrl-C, as FAILED on
    any other exception, which goes on unchanged. The block never waits for the store. The run's id
    is written to `id_file`; where that is there already, that run is continued. The run begins and
    ends when the block does, whenever the store hears of it; one that is continued keeps its first
    beginning.
    """
    all_tags = {
        "start": uuid4().hex,
        "stage": stage,
        "task": task,
        "scale": scale,
        "git_revision": revision,
        "mlflow.source.git.commit": revision,  # MLflow shows this one as the run's version
        "mlflow.source.name": stage,
        **(tags or {}),
    }
    run = StageRun()
    run.delivery = Delivery(_is_hopeless, partial(_note_loss, run))
    begun = _milliseconds()  # the store may answer much later

    def start() -> None:
        client = open_store(uri)
        run_id = _continued(client, id_file)
        if not run_id:
            group = experiment_id(client, experiment)
            by_hand = f"{stage}@{all_tags.get('round', task)}"  # as DVC would call it
            name = all_tags.get("dvc.stage", by_hand)
            run_id = _created(client, group, name, all_tags, begun)
            _remember(run_id, id_file)
        run.client, run.run_id = client, run_id

    run.delivery.put("the run's start", start)
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


def _milliseconds(at: float | None = None) -> int:
    """MLflow's measure of a time in seconds since 1970, or of now."""
    return int((time.time() if at is None else at) * 1000)


def _created(
    client: "MlflowClient", group: str, name: str, tags: Mapping[str, str], begun: int
) -> str:
    """A new run; or the one of an earlier try, whose answer was lost on its way."""
    tried = client.search_runs([group], f"tags.start = '{tags['start']}'", max_results=1)
    if tried:
        return str(tried[0].info.run_id)
    run = client.create_run(group, start_time=begun, tags=dict(tags), run_name=name)
    return str(run.info.run_id)


def _is_hopeless(error: Exception) -> bool:
    return isinstance(error, NotStartedError) or is_permanent(error)


def _note_loss(run: StageRun, what: str, why: str) -> bool:
    """Tags a run with what it lacks, and why; returns whether the store has answered."""
    if run.client is None:
        return False
    try:
        run.client.set_tag(run.run_id, f"lost.{what}", why)
    except Exception as error:  # whatever it is, it isn't worth the program
        return is_permanent(error)
    return True


def _remember(run_id: str, id_file: Path | None) -> None:
    if id_file is not None:
        with atomic_write(id_file) as aside:
            aside.write_text(run_id)


def _continued(client: "MlflowClient", id_file: Path | None) -> str:
    """The run that was begun before, open again; empty where this store has none."""
    from mlflow.exceptions import MlflowException

    if id_file is None or not id_file.exists():
        return ""
    run_id = id_file.read_text().strip()
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if is_permanent(error):
            return ""  # of another store, or deleted
        raise
    return run_id


def _log_params(entries: Sequence[tuple[str, object]], client: "MlflowClient", run: str) -> None:
    from mlflow.entities import Param

    client.log_batch(run, params=[Param(key, str(value)) for key, value in entries])


def _log_metrics(
    metrics: Mapping[str, float], when: int, step: int, client: "MlflowClient", run: str
) -> None:
    from mlflow.entities import Metric

    client.log_batch(run, metrics=[Metric(k, float(v), when, step) for k, v in metrics.items()])


def _log_dataset(path: str, md5: str, client: "MlflowClient", run: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(path, md5, "local", json.dumps({"uri": path}))
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "input")])])


def _agent_link(name: str, version: str) -> str:
    return f"Agent: [{name}, version {version}](#/models/{name}/versions/{version})"


def _stage_links(client: "MlflowClient", run: str, keys: Mapping[str, str]) -> str:
    experiment = client.get_run(run).info.experiment_id
    rows = ["| stage | run | key |", "|---|---|---|"]
    for stage, key in keys.items():
        found = finished_run(client, experiment, {"dvc.stage_key": key})
        made_by = "not in this store"
        if found is not None:
            number = found.info.run_id
            made_by = f"[{number}](#/experiments/{experiment}/runs/{number})"
        rows.append(f"| {stage} | {made_by} | {key} |")
    return "\n".join(rows)


def finished_run(client: "MlflowClient", experiment: str, tags: Mapping[str, str]) -> "Run | None":
    """Returns the first run with these tags that has finished, if the store has one."""
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    query = " and ".join([*wanted, "attributes.status = 'FINISHED'"])
    order = ["attributes.start_time ASC"]
    found = client.search_runs([experiment], query, max_results=1, order_by=order)
    return found[0] if found else None


def _set_tags(tags: Mapping[str, str], client: "MlflowClient", run: str) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])


def flatten(
    nested: Mapping[str, object], prefix: str = "", separator: str = "."
) -> dict[str, object]:
    """Returns nested values under dotted names: `{"vae": {"z": 32}}` as `{"vae.z": 32}`."""
    flat: dict[str, object] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}{separator}", separator)
        else:
            flat[f"{prefix}{key}"] = value
    return flat
