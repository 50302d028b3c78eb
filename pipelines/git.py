"""What git knows of the project."""

import os
import subprocess
from pathlib import Path

from world_models.runtime.errors import WorldModelsError, one_line

CODE = ("src", "pipelines", "params.yaml", "dvc.yaml")
"""What results come from, but for data."""
NO, REFUSES = 1, 128
"""How git exits where what it is asked for is not there; and where it can't do what it is told."""


class GitError(WorldModelsError):
    """Git refuses, doesn't get to its end, or is not installed."""


def git(*arguments: str, given: bytes = b"", may_say_no: bool = False) -> bytes:
    """Returns what a command of git's writes, which may be given something to read.

    Raises GitError, in git's words, if it refuses, and where it doesn't get to its end. With
    `may_say_no` it may also end with a no, and writes nothing then.
    """
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, input=given, env=_own(), capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("git: not found: install it") from None
    if done.returncode == REFUSES:
        reason = one_line(done.stderr.decode(errors="replace"))
        raise GitError(f"git: {reason.removeprefix('fatal: ')}")
    if done.returncode and not (may_say_no and done.returncode == NO):
        raise GitError(f"git: {' '.join(arguments)[:80]}: ended with {done.returncode}")
    return done.stdout


def _own() -> dict[str, str]:
    """The environment without what points to another repository, as in a hook of that one's."""
    named = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    return {key: value for key, value in os.environ.items() if key not in named}


def has_repository() -> bool:
    """Returns whether this folder is in a repository, as source from an archive is not."""
    here = Path().resolve()
    return any((folder / ".git").exists() for folder in (here, *here.parents))


def revision() -> str:
    """Returns the commit that is checked out; empty without a repository, or without a commit.

    Raises GitError where git refuses, as it does in a repository that is another user's.
    """
    if not has_repository():
        return ""
    return git("rev-parse", "--quiet", "--verify", "HEAD", may_say_no=True).decode().strip()


def changed() -> bool:
    """Returns whether code or parameters are others than the commit's that is checked out; false
    where `revision` has none.

    The package's own agents are no code: a release adds to them. Raises GitError as `revision`
    does.
    """
    agents = ":(exclude,glob)src/world_models/pretrained/*/**"
    # Another git may be at work; and the user may have told git to show less.
    status = ("--no-optional-locks", "status", "--porcelain", "--untracked-files=normal")
    return bool(revision() and git(*status, "--", *CODE, agents))


def last_committed(path: Path) -> bytes | None:
    """Returns a file as the last commit has it, or None if that has none.

    Raises GitError as `revision` does.
    """
    inside = ("-C", str(path.parent))
    if not revision() or not git(*inside, "ls-tree", "HEAD", path.name):
        return None
    return git(*inside, "show", f"HEAD:./{path.name}")


def untracked_code(project: Path) -> list[str]:
    """Returns the files of a project's code that git doesn't know; none where git refuses.

    DVC's copies of the project, which it runs experiments in, are without them.
    """
    command = ("ls-files", "--others", "--exclude-standard", "src", "pipelines")
    try:
        return git("-C", str(project), *command).decode().splitlines()
    except GitError:
        return []
