"""dvc.yaml tracks what each stage uses: no edit that matters is missed."""

import re
from pathlib import Path

import grimp
import pytest
import yaml

from world_models.layout import AgentFiles
from world_models.params import GENERAL, SECTIONS

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
OF_ROUNDS = ["collect", "vae", "encode", "rnn", "fidelity", "controller", "evaluate", "register"]
CHANGES_NO_RESULT = (
    # How work is spread, kept, logged and shown, and which values the tracked parameters have.
    *(f"pipelines.{name}" for name in ("context", "stage", "dvc", "git", "comparison")),
    *(f"world_models.{name}" for name in ("layout", "params", "pretrained", "reporting")),
    *("world_models.runtime", "world_models.tracking"),
)
EXCUSED = {
    # How nets are kept and packed changes nothing of what they do, and who plays predicts nothing.
    "collect": {
        *("controller/checkpoint", "rnn/checkpoint", "rnn/inference", "rnn/mixture"),
        *("vae/checkpoint", "vae/inference", "vae/starts"),
    },
    # It counts C's parameters.
    "compare_inputs": {
        *("controller/checkpoint", "rnn/mixture", "rnn/model", "worlds/config", "worlds/features"),
    },
}
UNTRACKED = {"compare_rounds": {"evaluate"}}
"""Sections that a stage reads: how long a film of rounds is, whose task dvc.yaml can't name."""
WHOLE_SCALE = ("export",)
"""Stages that track a whole scale: dvc.yaml can't name the task of their rounds."""
every_stage = pytest.mark.parametrize("name", STAGES)


@pytest.fixture(scope="module")
def imported():
    """Give a function that names the modules that a stage's results come from."""
    graph = grimp.build_graph("world_models", "pipelines", cache_dir=None)

    def modules(name):
        found, left = set(), [f"pipelines.{name}"]
        while left:
            module = left.pop()
            if module not in found and not module.startswith(CHANGES_NO_RESULT):
                found.add(module)
                left += graph.find_modules_directly_imported_by(module)
        return found - {"pipelines", "world_models"}

    return modules


def file_of(module):
    path = Path("src" if module.startswith("world_models") else ".", *module.split("."))
    file = path.with_suffix(".py")
    return file if (ROOT / file).exists() else path / "__init__.py"


def entry(name):
    return STAGES[name].get("do", STAGES[name])


def code(name):
    """The code that a stage depends on; a task's is loaded by its name."""
    deps = [Path(dep) for dep in entry(name)["deps"] if dep.startswith(("src/", "pipelines/"))]
    return [dep for dep in deps if dep.name != "${item.task}.py"]


def source(name, imported):
    """The text of a stage, and of what it shares with others."""
    own = [module for module in imported(name) if module.startswith("pipelines.")]
    return "".join((ROOT / file_of(module)).read_text() for module in own)


def outs(name):
    listed = [out for kind in ("outs", "metrics", "plots") for out in entry(name).get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}


def of_round(path):
    """A path of dvc.yaml, whichever round it is of."""
    return re.sub(r"\$\{item\.(after|round|task)\}", "${key}", path)


def test_a_round_has_all_stages_and_each_has_a_module():
    assert [name for name in STAGES if "foreach" in STAGES[name]] == OF_ROUNDS
    for name in STAGES:
        assert f"{entry(name)['cmd']} ".startswith(f"python -m pipelines.{name} ")
        assert f"pipelines/{name}.py" in entry(name)["deps"]


@every_stage
def test_a_stage_depends_on_the_code_that_its_results_come_from_and_on_no_other(imported, name):
    files, deps = {file_of(module) for module in imported(name)}, code(name)
    missed = {path for path in files if not {path, *path.parents} & {*deps}}
    missed = {path for path in missed if path.name != "__init__.py"}
    excused = {Path(f"src/world_models/{module}.py") for module in EXCUSED.get(name, ())}
    assert missed == excused
    for dep in deps:
        assert (ROOT / dep).exists(), dep
        assert any(dep in (path, *path.parents) for path in files), dep


@every_stage
def test_a_stage_depends_on_its_own_task_and_on_no_other(name):
    deps = [dep for dep in entry(name)["deps"] if dep.startswith("src/world_models/tasks")]
    own = ["src/world_models/tasks/${item.task}.py", "src/world_models/tasks/base.py"]
    assert deps in ([], own, ["src/world_models/tasks"][: name in (*UNTRACKED, *WHOLE_SCALE)])


@every_stage
def test_a_stage_tracks_the_parameters_that_change_its_results(imported, name):
    text, tracked = source(name, imported), set(entry(name).get("params", ()))
    if name in WHOLE_SCALE:
        assert tracked == {"scale", "seed", "rounds", "${scale}"}
        return
    assert ("seed" in tracked) == ("params.seed" in text)
    general = {kind.__name__: section for section, kind in GENERAL.items()}
    read = {general[kind] for kind in re.findall(r"general\((\w+)\)", text)} - {"machine"}
    assert {key.partition(".")[0] for key in tracked} & set(GENERAL) == read
    sections = set(re.findall(r"\b(?:context|before)\.config\.(\w+)", text))
    assert sections <= set(SECTIONS)
    blocks = ["all", "${item.task}", *["${item.settings}"][: name in OF_ROUNDS]]
    sections -= UNTRACKED.get(name, set())
    expected = {f"${{scale}}.{block}.{section}" for block in blocks for section in sections}
    assert {key for key in tracked if key.startswith("${scale}")} == expected
    goes_on = (name in OF_ROUNDS and bool(sections)) or "params.chain" in text
    assert ("rounds.${key}" in map(of_round, tracked)) == goes_on


@every_stage
def test_a_stage_reads_what_an_earlier_one_writes(name):
    before = [*STAGES][: [*STAGES].index(name)]
    for dep in entry(name)["deps"]:
        if dep.startswith(("data/", "models/", "reports/", "sweeps/")):
            after = "${item.after}" in dep  # all stages of the round before have ended
            written = {
                of_round(out) for other in (STAGES if after else before) for out in outs(other)
            }
            read = of_round(dep)
            assert any(read in (out, *map(str, Path(out).parents)) for out in written), dep
            assert not after or (ROOT / dep.replace("${item.after}", "nothing")).exists(), dep


@pytest.mark.parametrize("name", OF_ROUNDS[:-1])
def test_a_stage_depends_on_the_data_and_models_that_its_code_names(imported, name):
    text = source(name, imported)
    models = re.findall(r'files\.model\("(\w+)"\)', text)
    models += AgentFiles._fields if "files.agent" in text else []
    named = {f"models/${{key}}/{model}.safetensors" for model in models}
    named |= {f"data/${{key}}/{kind}" for kind in re.findall(r"files\.(episodes|latents)", text)}
    named |= {"data/${key}/latents"} if "open_latents" in text else set()
    tracked = {*entry(name)["deps"], *outs(name)}
    tracked = {path for path in tracked if path.startswith(("data/", "models/"))}
    assert {path for path in tracked if "${item.after}" not in path} == named
    assert any("${item.after}" in path for path in tracked) == ("context.before" in text)
