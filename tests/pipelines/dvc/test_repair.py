"""What a killed dvc leaves behind is put right; what a live one holds is left alone."""

import json
import os
import shutil
import subprocess

import psutil
import pytest
import zc.lockfile

from pipelines.dvc import repair
from tests.projects import DVC, commit, dvc, environment, init, run
from tests.users import give_away, needs_root
from tests.waiting import wait_for

STAGE = """
stages:
  copy:
    cmd: cp read written
    deps: [read]
    outs: [written]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small project of DVC's, which has run."""
    project = tmp_path_factory.mktemp("project")
    (project / "dvc.yaml").write_text(STAGE)
    (project / "read").write_text("x")
    init(project)
    dvc(project, "repro")
    commit(project, "Begin")
    return project


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy for each test, whose user has no settings of git's."""
    project = shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(tmp_path))
    return project


@pytest.fixture
def rwlock(project):
    return project / ".dvc" / "tmp" / "rwlock"


def refused(project):
    """What dvc says that refuses to run."""
    done = run(project, *DVC, "repro", "--force", expected=255)
    return done.stderr


def test_a_lock_of_a_process_that_is_no_dvc_goes(project, rwlock):
    """Its id was a dvc's before."""
    written = str(project / "written")
    info = {"pid": os.getpid(), "cmd": "dvc repro"}
    rwlock.write_text(json.dumps({"write": {written: info}, "read": {}}))
    assert "is busy" in refused(project)
    repair.main()
    dvc(project, "repro", "--force")


@pytest.mark.parametrize("text", ["", '{"write": {"wri', "[]", '{"write": 3}'])
def test_a_lock_that_was_cut_short_goes(project, rwlock, text):
    rwlock.write_text(text)
    repair.main()
    assert not rwlock.exists()


@pytest.mark.parametrize("text", [None, '{"write": {"wri'])
def test_a_lock_stays_while_a_dvc_is_at_work(project, rwlock, text):
    command = [*DVC, "repro", "--force"]
    (project / "dvc.yaml").write_text(STAGE.replace("cp read", "touch begun; sleep 60; cp read"))
    with psutil.Popen(
        command, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for((project / "begun").exists)
            if text is not None:
                rwlock.write_text(text)
            before = rwlock.read_text()
            repair.main()
            assert rwlock.read_text() == before
        finally:
            for child in process.children(recursive=True):
                child.kill()
            process.kill()


def test_nothing_is_touched_while_a_dvc_writes(project, rwlock):
    rwlock.write_text("")
    lock = zc.lockfile.LockFile(str(project / ".dvc" / "tmp" / "lock"))
    try:
        repair.main()
    finally:
        lock.close()
    assert rwlock.exists()


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.9])
def test_a_dvc_lock_that_was_cut_short_costs_nothing(project, part):
    lock = project / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: int(part * len(whole))])
    repair.main()
    assert lock.read_text() == whole


def test_a_dvc_lock_that_git_does_not_know_is_begun_anew(project):
    lock = project / "dvc.lock"
    whole = lock.read_text()
    run(project, "git", "rm", "--quiet", "--cached", "dvc.lock")
    lock.write_text("")
    run(project, "git", "-c", "user.name=N", "-c", "user.email=n@x", "commit", "-qm", "Without")
    repair.main()
    assert not lock.exists()
    assert "> cp" not in dvc(project, "repro")  # nothing is made again
    assert lock.read_text() == whole


def test_dvc_does_without_git_where_there_is_none(project, capsys):
    """The source has come in an archive."""
    shutil.rmtree(project / ".git")
    (project / "dvc.lock").write_text("")
    repair.main()
    assert capsys.readouterr().err.splitlines() == [
        "repair: no git repository here: DVC does without (core.no_scm in .dvc/config)",
        "repair: dvc.lock: damaged: begun anew",
    ]
    assert "> cp" not in dvc(project, "repro")
    repair.main()
    assert capsys.readouterr().err == ""


@needs_root
def test_what_git_may_know_is_kept_where_git_refuses(project, capsys):
    """The folder is another user's, as one of the host's in a container."""
    lock = project / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[:50])
    give_away(project)
    with pytest.raises(SystemExit) as exit_:
        repair.main()
    said = str(exit_.value.code)
    assert said.startswith("repair: git: detected dubious ownership in repository at ")
    assert "\n" not in said
    assert lock.read_text() == whole[:50]
    run(project, *said.partition(" call: ")[2].split())
    repair.main()
    assert lock.read_text() == whole


def test_a_folder_that_is_no_project_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^repair: you are not inside of a DVC repository"):
        repair.main()


@pytest.mark.parametrize("part", [None, 0.0, 0.5, 0.8])
def test_an_unfinished_entry_of_the_run_cache_goes(project, part):
    """DVC makes its folder, then a file aside, then renames that."""
    (entry,) = (project / ".dvc" / "cache" / "runs").glob("*/*/*")
    whole = entry.read_bytes()
    entry.unlink()
    if part is not None:
        entry.with_name("aside.tmp").write_bytes(whole[: int(part * len(whole))])
    (project / "dvc.lock").unlink()
    repair.main()
    assert "> cp" in dvc(project, "repro")
    assert entry.read_bytes() == whole


def test_what_is_in_order_stays(project):
    def contents():
        locks = (project / ".dvc" / "tmp").glob("*lock")  # with ids of those who held them
        files = {path for path in project.rglob("*") if path.is_file()} - set(locks)
        return {path: path.read_bytes() for path in files}

    before = contents()
    repair.main()
    assert contents() == before
