"""Edits that change no result are accepted; others are refused, and dvc.lock is left alone."""

import ast
import json
import shutil
import sys
from functools import partial

import pytest
import yaml
import zc.lockfile

from pipelines.dvc import accept as accepting
from pipelines.dvc.accept import ChangedFile, Copies, RefusedError, refuse_unproven
from pipelines.dvc.edits import differences, prepare_notes
from pipelines.dvc.smoke import PARTS
from tests.projects import ROOT, commit, dvc, init, run, status
from tests.stages import refused_here, said_here

MODEL = "src/world_models/vae/model.py"
POLICIES = "src/world_models/collecting/policies.py"
CANT_TELL = "Pendulum's pipeline never runs this, so it can't tell: run `dvc repro`"
STAGES = ("collect", "vae")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project of Pendulum's first two stages, which are taken for done, small as can be."""
    project = tmp_path_factory.mktemp("project")
    for part in (*PARTS, ".gitignore"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (project / part).parent.mkdir(exist_ok=True)
        copy(ROOT / part, project / part)
    change(project / "dvc.yaml", first_stages)
    change(project / "params.yaml", smallest)
    for path in ("data/pendulum/episodes/0.zip", "models/pendulum/vae.safetensors"):
        put(project / path, "some bytes")
    for name in ("collect.json", "vae.json", "reconstructions.png"):
        put(project / "reports" / "pendulum" / name, "{}")
    init(project)
    dvc(project, "commit", "--force", "--quiet")
    commit(project, "Both stages are done")
    return project


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    """A copy for each test, which runs in it."""
    project = shutil.copytree(template, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(project)
    return project


def smallest(params):
    params["rounds"] = {
        "pendulum": {"task": "pendulum", "after": "nothing", "settings": "pendulum"}
    }
    params["smoke"]["pendulum"]["collect"] = {"episodes": 2, "shard_episodes": 1}
    params["smoke"]["pendulum"]["vae"] = {"batches": 2, "validate_every": 2}
    params["machine"]["workers"] = 1
    return params


def first_stages(pipeline):
    return {"stages": {name: pipeline["stages"][name] for name in STAGES}}


def depends_on_more(pipeline):
    pipeline["stages"]["vae"]["do"]["deps"].append("src/world_models/py.typed")
    return pipeline


def change(path, edit):
    path.write_text(yaml.safe_dump(edit(yaml.safe_load(path.read_text())), sort_keys=False))


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def replace(project, path, old, new, count=-1):
    text = (project / path).read_text()
    assert old in text
    (project / path).write_text(text.replace(old, new, count))


def accept(project, *arguments, end=said_here):
    """The line that it ends with, which changes dvc.lock or not."""
    lock = (project / "dvc.lock").read_text()
    line = end(accepting.main, *arguments).splitlines()[-1]
    changed = (project / "dvc.lock").read_text() != lock
    assert changed == line.startswith("accept: accepted (")
    return line


refused = partial(accept, end=refused_here)


def comment(project, path=MODEL):
    replace(project, path, '"""', '"""Says more: ', 1)


def test_nothing_to_accept(project):
    """As a user calls it."""
    said = run(project, sys.executable, "-m", "pipelines.dvc.accept").stdout
    assert said == "accept: nothing to accept: dvc.lock is of the code as it is\n"
    comment(project, "src/world_models/tasks/takecover.py")
    assert accept(project).startswith("accept: nothing")  # no stage that has run depends on it


def test_a_docstring_is_accepted_and_nothing_else_is_renewed(project):
    comment(project)
    put(project / "data/pendulum/episodes/1.zip", "new data")
    before = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert accept(project) == (
        "accept: accepted (comments and docstrings alone): collect@pendulum, vae@pendulum"
    )
    after = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    for name, path in (("collect", MODEL), ("vae", "src/world_models/vae")):
        old, new = before[f"{name}@pendulum"], after[f"{name}@pendulum"]
        renewed = {dep["path"] for dep in new["deps"] if dep not in old["deps"]}
        assert renewed == {path}
        assert {**old, "deps": None} == {**new, "deps": None}
    assert status(project) != {}
    (project / "data/pendulum/episodes/1.zip").unlink()
    assert status(project) == {}


def test_a_clone_without_data_is_enough(project, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    run(project, "git", "clone", "--quiet", str(project), str(clone))
    comment(clone)
    monkeypatch.chdir(clone)
    assert "accepted" in accept(clone)
    assert "src/" not in json.dumps(status(clone))


def test_a_committed_edit_is_accepted_against_the_commit_before(project):
    comment(project)
    commit(project, "More words")
    line = refused(project)
    assert line.startswith(f"accept: {MODEL}: collect@pendulum was not run with that of HEAD")
    assert "accepted" in accept(project, "HEAD~1")
    assert status(project) == {}


def test_what_no_run_could_prove_is_refused_at_once(project):
    vae = project / "src/world_models/vae"
    put(vae / "table.json", "{}")
    assert refused(project) == (
        "accept: src/world_models/vae/table.json: "
        "only edits of Python code can be accepted: run `dvc repro`"
    )
    (vae / "table.json").unlink()
    put(vae / "new.py", "def f(:")
    assert "src/world_models/vae/new.py: not Python" in refused(project)
    (vae / "new.py").unlink()
    (project / MODEL).unlink()
    assert f"{MODEL}: missing" in refused(project)
    run(project, "git", "checkout", "--quiet", MODEL)
    comment(project)
    assert refused(project, "nonsense").startswith("accept: nonsense: git: ")
    change(project / "dvc.yaml", depends_on_more)
    assert refused(project) == (
        "accept: vae@pendulum: depends on other code now: run it with `dvc repro vae@pendulum`"
    )


def test_a_dvc_at_work_is_not_disturbed(project):
    comment(project)
    lock = zc.lockfile.LockFile(str(project / ".dvc/tmp/lock"))
    try:
        assert refused(project).startswith("accept: Unable to acquire lock.")
    finally:
        lock.close()
    assert "accepted" in accept(project)


@pytest.fixture
def short(project):
    """A project whose pipeline, which runs twice, is its first stage alone."""
    change(project / "dvc.yaml", lambda all: {"stages": {"collect": all["stages"]["collect"]}})
    commit(project, "One stage is enough")
    return project


def test_a_constant_is_refused_and_the_output_is_named(short):
    replace(short, POLICIES, "uniform(-1, 1", "uniform(-1, 0.5")
    assert refused(short) == (
        "accept: data/pendulum/episodes: not what the code of HEAD makes: "
        "the edit changes results, so run `dvc repro`"
    )


def test_names_are_accepted_once_the_pipeline_has_proved_them(short):
    replace(short, POLICIES, ".left", ".remaining")
    replace(short, POLICIES, "act(self, frame: np.ndarray)", "act(self, frame: object)")
    assert accept(short) == "accept: accepted (all outputs are equal): collect@pendulum"
    assert status(short) == {}


def test_an_edit_that_never_runs_is_refused(project, monkeypatch):
    """As if the pipeline did no more than import the module."""

    def import_both(copies):
        for copy in copies[1:]:
            run(copy, sys.executable, "-c", "import world_models.collecting.policies")

    monkeypatch.setattr(accepting, "run_both", import_both)
    monkeypatch.setattr(accepting, "compare_outputs", lambda _copies: None)
    drift = "self.action = np.clip(action"
    line = 1 + (project / POLICIES).read_text().partition(drift)[0].count("\n")
    replace(project, POLICIES, drift, "self.action = np.clip(0 + action")
    assert refused(project) == f"accept: {POLICIES}:{line}: {CANT_TELL}"


def edited(path, old, new):
    """A file before an edit and with it."""
    return [ChangedFile(path, *(trees := (ast.parse(old), ast.parse(new))), differences(*trees))]


@pytest.fixture
def copies(tmp_path):
    copies = Copies("HEAD", tmp_path / "old", tmp_path / "new")
    for copy in copies[1:]:
        (copy / "src").mkdir(parents=True)
        prepare_notes(copy / "src")
    return copies


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("def f():\n    a()\n    b()", "def f():\n    b()", "file.py:2 in HEAD"),
        ("def f():\n    b()", "def f():\n    a()\n    b()", "file.py:2"),
    ],
)
def test_what_is_gone_or_new_has_to_have_run(copies, old, new, line):
    with pytest.raises(RefusedError, match=f"^{line}: {CANT_TELL}$"):
        refuse_unproven(edited("file.py", old, new), copies)
    for copy in copies[1:]:
        (copy / "src" / "lines_that_ran.txt").write_text("file.py:2\n")
    refuse_unproven(edited("file.py", old, new), copies)


def test_an_arm_has_to_have_run(copies):
    """The cell state is none of Pendulum's features."""
    old = "def features(z, state, cell):\n    return [z, *([state.cell] if cell else [])]"
    files = edited("file.py", old, old.replace("state.cell", "state.hidden"))
    for copy in copies[1:]:
        (copy / "src" / "lines_that_ran.txt").write_text("file.py:2\n")
    with pytest.raises(RefusedError, match=f"^file.py:2:18-2:31: {CANT_TELL}$"):
        refuse_unproven(files, copies)
    for copy, end in zip(copies[1:], (29, 31), strict=True):
        (copy / "src" / "lines_that_ran.txt").write_text(f"file.py:2\nfile.py:2:18-2:{end}\n")
    refuse_unproven(files, copies)


def test_another_value_is_refused_even_where_all_results_are_equal(copies):
    for copy in copies[1:]:
        (copy / "src" / "lines_that_ran.txt").write_text("file.py:1\n")
    with pytest.raises(RefusedError, match=r"^file.py:1: has another value"):
        refuse_unproven(edited("file.py", "LIMIT = 3", "LIMIT = 4"), copies)
    refuse_unproven(edited("file.py", "LIMIT = 3", "MOST = 3"), copies)
    for copy in copies[1:]:
        (copy / "src" / "lines_that_ran.txt").write_text("file.py:2\n")
    # worlds/real.py: none of Pendulum's rewards is over 0.
    old = "def patient(reward):\n    return reward > 0"
    with pytest.raises(RefusedError, match=r"^file.py:2: has another value"):
        refuse_unproven(edited("file.py", old, old.replace("0", "5")), copies)
