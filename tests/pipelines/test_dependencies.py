"""dvc.yaml tracks just what each stage uses: no edit that matters is missed, and no other."""

import re
from pathlib import Path

import grimp
import pytest
import yaml

from world_models.config import STAGES

ROOT = Path(__file__).parents[2]
STAGE_FILES = ["collect", "vae", "encode", "rnn", "honesty", "controller", "evaluate", "pipeline"]

MODELS = {f"models/{name}.safetensors" for name in ("vae", "rnn", "controller")}
READ = {
    "collect": set(),
    "vae": {"data/episodes"},
    "encode": {"data/episodes", "models/vae.safetensors"},
    "rnn": {"data/latents", "models/vae.safetensors"},
    "honesty": {"data/latents", "models/vae.safetensors", "models/rnn.safetensors"},
    "controller": {"data/latents", "models/vae.safetensors", "models/rnn.safetensors"},
    "evaluate": {"data/latents", *MODELS},
    "pipeline": MODELS,
}

CHANGES_NO_RESULT = {
    # How work is started, shown, logged, spread over processes and put on the disk.
    "pipelines/stage.py",
    "pipelines/lineage.py",
    *(
        f"src/world_models/{name}.py"
        for name in ("config", "errors", "execution", "files", "progress")
    ),
    "src/world_models/training/resume.py",
    *(f"src/world_models/tracking/{name}.py" for name in ("delivery", "registry", "run", "store")),
}
ALONG_FOR_THE_RIDE = {
    # Imported by what a stage uses, for another stage's sake.
    "collect": {"models/mdn"},
    "vae": {"models/controller", "models/mdn", "models/mdnrnn", "task"},
    "encode": {"models/controller", "models/mdn", "models/mdnrnn", "task"},
    "pipeline": {"task"},
}
LOADED_BY_NAME = {
    # Gymnasium imports it when a task asks for it.
    "src/world_models/worlds/car_racing.py"
}


UNTRACKED = {
    # Of sections that a stage reads: what another stage needs, and how many processes work.
    "collect": {"collect.workers"},
    "honesty": {"collect.episodes", "collect.shard_episodes", "collect.workers"},
    "controller": {"dream.honesty_episodes"},
    "evaluate": {"dream.honesty_episodes", "evaluate.workers"},
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
    assert list(stages) == STAGE_FILES


@pytest.mark.parametrize("name", STAGE_FILES)
def test_a_stage_depends_on_the_code_that_its_results_come_from(stages, imported, name):
    deps = code_deps(stages[name])
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
    text = (ROOT / f"pipelines/{name}.py").read_text()
    if "from pipelines.worlds import open_dreams" in text:
        text += (ROOT / "pipelines/worlds.py").read_text()
    read = {kinds[kind] for kind in re.findall(r"section\((\w+)\)", text)}
    if "log_every_section" in text:
        read = set(STAGES)
    assert ("seed" in stages[name]["params"]) == ("params.seed" in text)
    tracked = {
        parameter.removeprefix("${scale}.${item.task}.")
        for parameter in stages[name]["params"]
        if parameter != "seed"
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
    assert read <= written
    assert {path.replace("${item.task}/", "") for path in read} == READ[name]


def outs(stage):
    listed = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}
