"""`dvc exp run -S` changes the line of its parameter, and the stages read what it says."""

import shutil

import pytest

from tests.projects import ROOT, commit, dvc, init, run

STAGE = """
stages:
  show:
    cmd: world-models params carracing > shown
    params: [small.carracing.vae]
    outs: [shown]
"""


@pytest.fixture
def project(tmp_path):
    """The parameters as they are, and a stage that shows those in force."""
    for folder in ("params.yaml", "src"):
        (shutil.copytree if folder == "src" else shutil.copy)(ROOT / folder, tmp_path / folder)
    (tmp_path / "dvc.yaml").write_text(STAGE)
    init(tmp_path)
    commit(tmp_path, "Begin")
    return tmp_path


CHANGES = {
    "small.carracing.vae.batches=9000": "      batches: 9000",
    "+small.carracing.vae.free_nats=1": "      free_nats: 1",
}
"""What is set, and the line that it makes."""


def test_a_parameter_that_is_set_changes_one_line_and_nothing_else(project):
    dvc(project, "exp", "run", *(f"--set-param={change}" for change in CHANGES))
    diff = run(project, "git", "diff", "--unified=0", "params.yaml").stdout.splitlines()
    lines = [line for line in diff if not line.startswith(("---", "+++"))]
    assert [line[1:] for line in lines if line.startswith("-")] == ["      batches: 5000"]
    assert [line[1:] for line in lines if line.startswith("+")] == [*CHANGES.values()]
    shown = (project / "shown").read_text().splitlines()
    for change in CHANGES:
        name, _, value = change.rpartition(".")[2].partition("=")
        (row,) = (line for line in shown if f"vae.{name} " in line)
        _, found, origin, *_ = row.split()
        assert (float(found), origin) == (float(value), "small.carracing.vae")


def test_in_a_copy_it_leaves_the_folder_as_it_is(project):
    dvc(project, "exp", "run", "--temp", "--set-param=small.carracing.vae.batches=9000")
    assert run(project, "git", "status", "--porcelain").stdout == ""
    assert not (project / "shown").exists()
    (kept,) = run(project, "git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    assert "batches: 9000" in run(project, "git", "show", f"{kept}:params.yaml").stdout
