"""Every code block of README and docs is run, or says why it is not; every command is one."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.cli.parser import get_main_parser
from dvc.utils.hydra import apply_overrides

import world_models.tasks
from tests.agents import write_agent
from tests.docs.blocks import ALL, PAGES, RUN, SHOWN, blocks_of, commands, commands_in_sentences
from tests.projects import ROOT
from world_models.cli import _parser
from world_models.params import PARAMS, SECTIONS, Params
from world_models.tasks import TASKS

IN_SHELL = (
    *("cat", "cd", "export", "git", "pip", "source"),
    *("curl", "docker", "helm", "kubectl", "mlflow", "ray", "sudo", "torchrun"),
)
"""What else a line may begin with."""
TARGETS = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SHELL = [block for block in ALL if block.language == "sh"]


def named(block):
    return block.place


@pytest.mark.parametrize("block", ALL, ids=named)
def test_it_is_run_or_says_why_not(block):
    if block.language.startswith("{"):
        return  # a directive, which Sphinx runs
    assert block.language in (*RUN, *SHOWN)
    for test in block.tests:
        assert (ROOT / test).exists(), test


@pytest.mark.parametrize("block", SHELL, ids=named)
def test_a_command_is_one_that_its_program_takes(block, tmp_path):
    take(commands(block), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_so_is_one_in_a_sentence(page, tmp_path):
    if page.stem != "notebook":  # it tells of its day
        take(commands_in_sentences(page), tmp_path)


def take(lines, tmp_path):
    """Has each program read its words."""
    for program, *words in lines:
        if program == "world-models":
            own(words)
        elif program == "make":
            assert {word for word in words if "=" not in word} <= TARGETS
        elif program == "dvc":
            holds(get_main_parser().parse_args(words), tmp_path)
        elif program == "python":
            assert words[0] == "-m"
            assert importlib.util.find_spec(words[1])
        else:
            assert program in IN_SHELL or (ROOT / program).exists(), program


def own(words):
    """One word alone is the name of a command."""
    if len(words) > 1:
        _parser().parse_args(words)
    else:
        with pytest.raises(SystemExit) as ended:
            _parser().parse_args([*words, "--help"])
        assert ended.value.code == 0


def holds(asked, folder):
    """A stage that dvc is to run exists, and a parameter that it is to set is one."""
    for target in getattr(asked, "targets", None) or ():
        assert target.partition("@")[0].strip("*") in ("", *STAGES)
    changes = getattr(asked, "set_param", None) or ()
    if changes:
        shutil.copy(ROOT / PARAMS, folder / PARAMS)
        apply_overrides(folder / PARAMS, [change.replace("$sigma", "0.1") for change in changes])
        read(folder / PARAMS)


def read(path):
    """Reads every section of every round's parameters."""
    for name in yaml.safe_load(path.read_text())["rounds"]:
        params = Params(path, name)
        for kind in SECTIONS.values():
            params.section(kind)


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """A folder in which each game has an agent that has learned nothing."""
    folder = tmp_path_factory.mktemp("project")
    for task in ("carracing", "takecover", "pendulum"):
        write_agent(folder / "models" / task, task, dies=task == "takecover")
    return folder


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(b.is_run and b.language != "sh" for b in blocks_of(page))],
    ids=lambda page: page.stem,
)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, agents, monkeypatch):
    monkeypatch.chdir(agents)
    names = {}
    for block in filter(lambda block: block.is_run, blocks_of(page)):
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), names)
            if "TASK" in names:
                add_task(names["TASK"], monkeypatch)
        elif block.language == "yaml":
            shutil.copy(ROOT / PARAMS, PARAMS)
            add_parameters(PARAMS, yaml.safe_load(block.text))
            read(PARAMS)


def add_task(task, monkeypatch):
    """Has a page's task be one, as the page has the reader write its file."""
    Path("tasks").mkdir(exist_ok=True)
    Path("tasks", f"{task.name}.py").touch()
    known = [*world_models.tasks.__path__, str(Path("tasks").resolve())]
    monkeypatch.setattr(world_models.tasks, "__path__", known)
    monkeypatch.setitem(TASKS, task.name, task)


def add_parameters(path, more):
    """Adds a page's parameters to params.yaml, as the page has the reader do it."""

    def merged(old, new):
        both = {key for key in old.keys() & new.keys() if old[key] != new[key]}
        return old | new | {key: merged(old[key], new[key]) for key in both}

    path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), more)))
