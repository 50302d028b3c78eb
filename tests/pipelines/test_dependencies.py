"""dvc.yaml tracks just what each stage uses: no edit that matters is missed, and no other."""

import re
from pathlib import Path

import grimp
import pytest
import yaml

from world_models.config import STAGES, SWEEPS, RNNConfig
from world_models.models.agent import AgentFiles

ROOT = Path(__file__).parents[2]
STAGE_FILES = [
    *("collect", "vae", "encode", "rnn", "honesty", "controller", "evaluate", "pipeline"),
    *("tempered", "temperature", "ablated", "ablation"),
]

AGAIN = ["collect", "vae", "encode", "rnn", "controller", "evaluate", "pipeline"]
"""What a later round has of the first one's; `loop` it has beside."""
INHERITED = {
    "collect": {"data/episodes", *(f"models/{name}.safetensors" for name in AgentFiles._fields)},
    "vae": {"models/vae.safetensors"},
    "encode": {"data/latents", "models/vae.safetensors"},
    "rnn": {"models/rnn.safetensors"},
    "controller": {"models/controller.safetensors"},
    "evaluate": set(),
    "pipeline": set(),
}
"""What a stage of a later round reads of the round before."""

MODELS = {f"models/{name}.safetensors" for name in ("vae", "rnn", "controller")}
M_AND_ITS_DATA = {"data/latents", "models/vae.safetensors", "models/rnn.safetensors"}
READ = {
    "collect": set(),
    "vae": {"data/episodes"},
    "encode": {"data/episodes", "models/vae.safetensors"},
    "rnn": {"data/latents", "models/vae.safetensors"},
    "honesty": M_AND_ITS_DATA,
    "controller": M_AND_ITS_DATA,
    "evaluate": {"data/latents", *MODELS},
    "pipeline": MODELS,
    "tempered": M_AND_ITS_DATA,
    "temperature": set(),
    "ablated": M_AND_ITS_DATA,
    "ablation": {"models/ablation", "models/controller.safetensors"},
}
VARIANTS = ["tempered", "ablated"]
"""They do what the stages controller and evaluate do, with other parameters."""

CHANGES_NO_RESULT = {
    # How work is started, shown, logged, spread over processes and put on the disk.
    "pipelines/stage.py",
    "pipelines/intact.py",
    "pipelines/lineage.py",
    "pipelines/resume.py",
    "src/world_models/rounds.py",
    *(
        f"src/world_models/{name}.py"
        for name in ("config", "errors", "files", "journal", "progress")
    ),
    "src/world_models/execution/crew.py",
    "src/world_models/execution/endings.py",
    "src/world_models/execution/memory.py",
    "src/world_models/execution/worker.py",
    "src/world_models/training/resume.py",
    *(f"src/world_models/tracking/{name}.py" for name in ("delivery", "registry", "run", "store")),
}
M_AND_C = {f"models/{name}" for name in ("agent", "controller", "mdn", "mdnrnn")}
UNUSED_MODELS = M_AND_C | {
    f"models/{name}" for name in ("checkpoint", "inference", "precision", "vae")
}
ALONG_FOR_THE_RIDE = {
    # Imported by what a stage uses, for another stage's sake.
    "collect": {"models/mdn", "models/precision"},
    "vae": {*M_AND_C, "models/inference", "task"},
    "encode": {*M_AND_C, "task"},
    "pipeline": {*UNUSED_MODELS, "task"},
    "temperature": {*UNUSED_MODELS, "task"},
    "ablation": UNUSED_MODELS - {"models/checkpoint", "models/controller"} | {"task"},
}
LOADED_BY_NAME = {
    # Gymnasium imports it when a task asks for it.
    "src/world_models/worlds/car_racing.py"
}


OF_M = {f"rnn.{name}" for name in RNNConfig.model_fields} - {"rnn.done_weight"}
"""A dream asks of M's section what its training weighed an end with, and no more."""
TRIALS = {f"dream.{name}" for name in ("temperatures", "trial_episodes", "trial_generations")}
UNUSED_BY_VARIANTS = {"evaluate.video_steps", "evaluate.workers"}
UNTRACKED = {
    # Of sections that a stage reads: what another stage needs, and how many processes work.
    "collect": {"collect.workers"},
    "honesty": {
        *(f"collect.{name}" for name in ("episodes", "shard_episodes", "workers")),
        *(f"collect.{name}" for name in ("as_is", "random_share", "spread")),  # an agent's
        *OF_M,
    },
    "controller": {"dream.honesty_episodes", *OF_M},
    "evaluate": {"dream.honesty_episodes", "dream.temperature", "evaluate.workers"} | TRIALS | OF_M,
    "tempered": {"dream.honesty_episodes", "dream.temperature"}
    | UNUSED_BY_VARIANTS
    | TRIALS
    | OF_M,
    "ablated": {"dream.honesty_episodes"} | UNUSED_BY_VARIANTS | OF_M,
}


@pytest.fixture(scope="module")
def stages():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module")
def imported():
    """Give a function that names the files that a stage imports."""
    graph = grimp.build_graph("world_models", "pipelines", cache_dir=None)

    def files(stage):
        module = f"pipelines.{stage}"
        return {
            path
            for name in {module, *graph.find_upstream_modules(module)}
            if not (path := file_of(name)).endswith("__init__.py")
        }

    return files


def file_of(module):
    parent = "src" if module.startswith("world_models") else "."
    path = Path(parent, *module.split("."))
    file = path.with_suffix(".py")
    return str(file if (ROOT / file).exists() else path / "__init__.py")


def code_deps(stage):
    return [Path(path) for path in stage["deps"] if "${" not in path]


def covered(path, deps):
    return any(Path(path) == dep or dep in Path(path).parents for dep in deps)


def test_all_stages_are_there(stages):
    first, sweeps = STAGE_FILES[:8], STAGE_FILES[8:]
    later = [f"{name}-again" for name in [*AGAIN, "loop"]]
    assert list(stages) == [*first, *later, *sweeps]


@pytest.mark.parametrize("name", AGAIN)
def test_a_later_round_has_the_first_ones_stage_and_what_it_inherits(stages, name):
    first, again = stages[name], stages[f"{name}-again"]["do"]
    own = {path.replace("${item.task}/", "${key}/") for path in data_deps(first)}
    inherited = {path.replace("/", "/${item.after}/", 1) for path in INHERITED[name]}
    assert code_and_task(again) == code_and_task(first)
    assert data_deps(again) == (own | inherited) - {"reports/${key}/honesty.json"}
    written = {path.replace("${item.task}/", "${key}/") for path in outs(first)}
    assert outs(again) == written
    tracked = set(first["params"])
    sections = {key.split(".")[3] for key in tracked - {"seed"}}
    more = {f"${{scale}}.${{item.task}}.again.{section}" for section in sections}
    assert set(again["params"]) == tracked | more | {"rounds.${key}"}


def data_deps(stage):
    return {path for path in stage["deps"] if path.startswith(("data/", "models/", "reports/"))}


def code_and_task(stage):
    return [path for path in stage["deps"] if path.startswith(("src/", "pipelines/"))]


@pytest.mark.parametrize("name", [*STAGE_FILES, "loop"])
def test_a_stage_depends_on_the_code_that_its_results_come_from(stages, imported, name):
    deps = code_deps(stages[name] if name in stages else stages[f"{name}-again"]["do"])
    excused = CHANGES_NO_RESULT | {
        f"src/world_models/{module}.py" for module in ALONG_FOR_THE_RIDE.get(name, ())
    }
    missed = {path for path in imported(name) if not covered(path, deps)}
    assert missed <= excused
    assert not any(covered(path, deps) for path in excused)


@pytest.mark.parametrize("name", STAGE_FILES)
def test_a_stage_depends_on_its_own_task_and_on_no_other(stages, name):
    deps = stages[name]["deps"]
    own = "src/world_models/tasks/${item.task}.py" in deps
    assert own == ("src/world_models/task.py" in deps)
    assert not any(dep.startswith("src/world_models/tasks") and "${" not in dep for dep in deps)


@pytest.mark.parametrize("name", STAGE_FILES)
def test_a_stage_depends_on_no_code_that_it_does_not_use(stages, imported, name):
    used = imported(name) | LOADED_BY_NAME
    for dep in code_deps(stages[name]):
        assert (ROOT / dep).exists(), dep
        assert any(covered(path, [dep]) for path in used), dep


@pytest.mark.parametrize("name", STAGE_FILES)
def test_a_stage_tracks_the_parameters_that_change_its_results(stages, name):
    kinds = {kind.__name__: section for section, kind in STAGES.items()}
    sources = [name] if name not in VARIANTS else [name, "controller", "evaluate"]
    text = "".join((ROOT / f"pipelines/{source}.py").read_text() for source in sources)
    for helper in ("ground", "trials", "worlds"):
        if f"from pipelines.{helper} import" in text:
            text += (ROOT / f"pipelines/{helper}.py").read_text()
    read = {kinds[kind] for kind in re.findall(r"section\((\w+)\)", text)}
    if "log_every_section" in text:
        read = set(STAGES)
    parameters = set(stages[name].get("params", ()))
    assert ("seed" in parameters) == ("params.seed" in text)
    sweeps = {kind.__name__: sweep for sweep, kind in SWEEPS.items()}
    swept = {sweeps[kind] for kind in re.findall(r"sweep\((\w+)\)", text)}
    assert {key.partition(".")[0] for key in parameters} & set(SWEEPS) == swept
    tracked = {
        parameter.removeprefix("${scale}.${item.task}.")
        for parameter in parameters
        if parameter.startswith("${")
    }
    assert fields(tracked) == fields(read) - UNTRACKED.get(name, set())


def fields(parameters):
    """Single parameters, of whole sections and of single ones."""
    found = set()
    for parameter in parameters:
        section, _, field = parameter.partition(".")
        names = [field] if field else STAGES[section].model_fields
        found |= {f"{section}.{name}" for name in names}
    return found


@pytest.mark.parametrize("name", STAGE_FILES)
def test_a_stage_reads_what_an_earlier_one_writes(stages, name):
    written = set()
    for earlier in STAGE_FILES[: STAGE_FILES.index(name)]:
        written |= outs(stages[earlier])
    read = {path for path in stages[name]["deps"] if path.startswith(("data/", "models/"))}
    folders = {str(folder) for path in written for folder in Path(path).parents}
    assert read <= written | folders
    assert {path.replace("${item.task}/", "") for path in read} == READ[name]


def outs(stage):
    listed = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}
