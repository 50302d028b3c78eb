"""What git knows of a project, and what it says where it can't be asked."""

import pytest

from pipelines.git import GitError, changed, last_committed, revision, untracked_code
from tests.projects import commit, run
from tests.users import give_away, needs_root


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder, where commands run; the user has no settings of git's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    return tmp_path


def test_a_commit_and_its_files_are_known(project):
    assert revision() == ""
    run(project, "git", "init", "--quiet")
    assert revision() == ""
    assert last_committed(project / "file") is None
    (project / "file").write_text("as it was")
    commit(project, "Begin")
    (project / "file").write_text("as it is")
    assert revision() == run(project, "git", "rev-parse", "HEAD").stdout.strip()
    assert last_committed(project / "file") == b"as it was"
    assert last_committed(project / "other") is None


def test_other_code_or_parameters_than_the_commits_are_seen(project):
    assert not changed()
    run(project, "git", "init", "--quiet")
    for name in ("params.yaml", "README.md"):
        (project / name).write_text("as it was")
    assert not changed()  # there is no commit yet
    commit(project, "Begin")
    run(project, "git", "config", "status.showUntrackedFiles", "no")
    (project / "README.md").write_text("as it is")
    assert not changed()
    agents = project / "src" / "world_models" / "pretrained"
    (agents / "takecover").mkdir(parents=True)
    (agents / "takecover" / "card.md").touch()
    assert not changed()
    (agents / "hub.py").touch()
    assert changed()
    (agents / "hub.py").unlink()
    (project / "src" / "new.py").touch()
    assert changed()
    (project / "src" / "new.py").unlink()
    (project / "params.yaml").write_text("as it is")
    assert changed()


def test_a_hook_of_another_repository_has_no_say(project, monkeypatch):
    for name in ("other", "own"):
        (project / name).mkdir()
        run(project / name, "git", "init", "--quiet")
        (project / name / "file").write_text(name)
        commit(project / name, "Begin")
    monkeypatch.setenv("GIT_DIR", str(project / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(project / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(project / "other" / ".git" / "index"))
    monkeypatch.chdir(project / "own")
    assert last_committed(project / "own" / "file") == b"own"
    (project / "own" / "src").mkdir()
    (project / "own" / "src" / "new.py").touch()
    assert untracked_code(project / "own") == ["src/new.py"]


@needs_root
def test_a_repository_of_another_user_is_refused_with_gits_own_remedy(project):
    run(project, "git", "init", "--quiet")
    give_away(project)
    remedy = f"git config --global --add safe.directory {project}"
    with pytest.raises(GitError, match=rf"^git: detected dubious ownership .* {remedy}$"):
        revision()


def test_a_repository_without_the_program_is_one_line(project, monkeypatch):
    run(project, "git", "init", "--quiet")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitError, match=r"^git: not found: install it$"):
        revision()


def test_a_git_that_is_killed_has_not_said_that_nothing_changed(project, monkeypatch):
    run(project, "git", "init", "--quiet")
    (project / "params.yaml").touch()
    commit(project, "Begin")
    (project / "git").write_text("#!/bin/sh\ncase $* in *status*) kill -9 $$;; *) echo 1;; esac\n")
    (project / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(project), prepend=":")
    with pytest.raises(GitError, match=r"^git: .* status .*: ended with -9$"):
        changed()
