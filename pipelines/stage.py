"""How a stage is run: under DVC or by hand, with a lock, an MLflow run, and one-line errors."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from pipelines.context import Context
from pipelines.dvc.lineage import Lineage, lineage, outputs, repository, run_cache, runner
from pipelines.dvc.resume import BY_HAND, held_state, note_inputs, run_name
from pipelines.dvc.verify import verify_inputs
from pipelines.git import changed, revision, untracked_code
from pipelines.ranks import follow, is_loss, lead, rank
from world_models.layout import RoundFiles, explain
from world_models.params import ORIGINS, PARAMS, MachineConfig, Params, round_names
from world_models.runtime.devices import machine
from world_models.runtime.errors import (
    OF_THE_DISK,
    ConfigError,
    DivergedError,
    WorldModelsError,
)
from world_models.runtime.lifetime import die_with, leave_nothing_behind
from world_models.runtime.memory import keep_freed_memory
from world_models.runtime.precision import prefers_bfloat16
from world_models.tasks import get_task
from world_models.tracking.client import present_uri
from world_models.tracking.delivery import first_line
from world_models.tracking.history import OUTPUTS, digest
from world_models.tracking.run import StageRun, stage_run

EXPERIMENT = "world-models"
UNKNOWN = Lineage("", {}, {})
"""Where a stage comes from that DVC doesn't run."""


def main(
    name: str,
    work: Callable[[Context], None],
    sections: Sequence[str] = (),
    *,
    variant: str | None = None,
) -> None:
    """Runs a stage for the round named on the command line.

    What a user can fix ends it with one line on stderr and exit code 1; Ctrl-C with 130.

    Args:
        work: what the stage does.
        sections: those of params.yaml that it is run with, which are logged.
        variant: what the second argument is called, of a stage that is run for several.
    """
    parser = argparse.ArgumentParser(description=f"Stage {name} of the pipeline.")
    parser.add_argument("round", help="one of the rounds in params.yaml, e.g. carracing")
    if variant is not None:
        parser.add_argument("variant", metavar=variant)
    arguments = parser.parse_args()
    # Ended politely, a stage closes its games and takes away what is half-written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    leave_nothing_behind()
    keep_freed_memory()
    try:
        with _copy_explained():
            params = Params(PARAMS, arguments.round)
            if rank(params.general(MachineConfig)) > 0:
                _follow(name, params, work)
                return
            with repository() if "DVC_STAGE" in os.environ else nullcontext():
                _run(name, params, getattr(arguments, "variant", ""), sections, work)
    except (WorldModelsError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_DISK:
            raise
        sys.exit(f"{name}: {explain(error, round_names(PARAMS))}")
    except RuntimeError as error:
        if not is_loss(error):
            raise
        lost = "the training has lost one of its processes (out of memory?); run again: it goes on"
        sys.exit(f"{name}: {lost} [{first_line(error)}]")
    except KeyboardInterrupt:
        sys.exit(130)


def _follow(name: str, params: Params, work: Callable[[Context], None]) -> None:
    """Trains with a stage that another process runs: that one alone has DVC, locks and MLflow."""
    task, files, state = get_task(params.task), RoundFiles(params.round), project_root() / follow()
    with suppress(DivergedError):  # the other says it
        work(Context(name, task, params, files, StageRun(), state, leads=False))


def _run(
    name: str,
    params: Params,
    variant: str,
    sections: Sequence[str],
    work: Callable[[Context], None],
) -> None:
    task, round_ = get_task(params.task), params.round
    root = project_root()
    dvc_stage = os.environ.get("DVC_STAGE")
    if dvc_stage:
        _die_with_dvc(dvc_stage)
        verify_inputs(dvc_stage)
    origin = lineage(dvc_stage) if dvc_stage else UNKNOWN
    commit = revision()
    taken = run_cache() if dvc_stage else None
    at = "-".join(filter(None, [round_, variant]))
    with (
        held_state(root / ".state", f"{name}@{at}", origin.key or BY_HAND, taken) as state,
        stage_run(
            uri=present_uri(root),
            experiment=EXPERIMENT,
            stage=name,
            task=params.task,
            scale=params.scale,
            revision=commit,
            tags=_tags(origin, commit) | {"start": run_name(state), "round": round_},
            id_file=state / "run-id",
        ) as run,
    ):
        context = Context(name, task, params, RoundFiles(round_), run, state, variant)
        lead(params.general(MachineConfig), state.relative_to(root))
        run.log_params({"seed": params.seed})
        run.describe(description(work, params))
        if dvc_stage:
            note_inputs(state, origin.inputs)
            run.log_lineage({"inputs": origin.inputs})
        context.log_sections(*sections)
        for path, md5 in origin.inputs.items():
            if path.startswith("data/") and path.removeprefix("data/") not in ORIGINS:
                run.log_dataset(path, md5)
        work(context)
        if dvc_stage:
            written = outputs(dvc_stage)
            run.log_lineage({"inputs": origin.inputs, "outputs": written})
            run.set_tags({OUTPUTS: digest(written)})


@contextmanager
def _copy_explained() -> Iterator[None]:
    """An experiment runs in a copy of the project: names the code that is not in it, if that is at
    fault."""
    try:
        yield
    except (ConfigError, ModuleNotFoundError) as error:
        root = project_root()
        for path in untracked_code(root) if root != Path().resolve() else ():
            if re.search(rf"\b{re.escape(Path(path).stem)}\b", str(error)):
                fault = f"DVC has not copied {path}, which git doesn't know: `git add {path}`"
                raise WorldModelsError(f"{error}; {fault}") from None
        raise


def description(work: Callable[[Context], None], params: Params) -> str:
    """Returns what a stage's run is, in Markdown: what its module says of it, and its round."""
    does = (sys.modules[work.__module__].__doc__ or "").strip()
    return f"{does}\n\nRound `{params.round}` at scale `{params.scale}`, seed {params.seed}."


def _die_with_dvc(stage: str) -> None:
    """A stage that outlived its dvc would write its outputs beside, or over, those of the next."""
    dvc = runner(stage)
    if dvc is None:
        raise WorldModelsError("DVC_STAGE is set, but no dvc runs this stage (any more)")
    die_with(dvc)


def project_root() -> Path:
    """Returns the project's own folder, also where DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def _tags(origin: Lineage, commit: str) -> dict[str, str]:
    """What a run's results come from; of a stage that is run by hand DVC knows nothing."""
    of_dvc = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.stage_key": origin.key,
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
    }
    auto = "bfloat16" if prefers_bfloat16() else "float32"
    here = {"precision.auto": auto, "machine": machine()}
    if commit:
        here["git_changed"] = str(changed()).lower()
    return {key: value for key, value in of_dvc.items() if value} | here
