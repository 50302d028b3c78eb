"""Renews what dvc.lock says of the code, after an edit that changes no result.

    python -m pipelines.dvc.accept [REVISION]

Stages depend on whole rooms of code, so a docstring makes their results stale. Such an edit is
accepted at once. After another one Pendulum's smallest pipeline runs twice: with the code of a
commit, which the results in dvc.lock have to be of, and with the code as it is now. Every output
has to be equal to the bit, and the lines of the edit have to be among those that ran. No data is
read, and no other line of dvc.lock is written.
"""

import argparse
import ast
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml
from dvc_data.hashfile.build import build

from pipelines.dvc.edits import (
    Edits,
    differences,
    mark,
    marked,
    notes,
    prepare_notes,
    renumbered,
)
from pipelines.dvc.lineage import COMES_FROM
from pipelines.dvc.smoke import begin, copy_folder, copy_revision
from pipelines.git import GitError
from world_models.runtime.errors import WorldModelsError

LOCK = Path("dvc.lock")
CODE = ("pipelines/", "src/")
TAIL = 20
"""Lines of a failed pipeline's output that are shown."""


class RefusedError(WorldModelsError):
    """An edit is not accepted."""


class Renewal(NamedTuple):
    """One stage's dependency on code, which is not what dvc.lock says."""

    stage: str
    path: str
    recorded: str
    """Its hash in dvc.lock."""
    entry: dict[str, Any]
    """What dvc.lock would say of it now."""


class Copies(NamedTuple):
    """The project before an edit and with it, as copies that nobody else changes."""

    revision: str
    """The commit that the first one is of."""
    old: Path
    new: Path


class ChangedFile(NamedTuple):
    """A file of Python code that is not what it was."""

    path: str
    old: ast.Module
    new: ast.Module
    edits: Edits


def accept(revision: str) -> str:
    """Accepts the edit between a commit and the folder as it is; returns what to tell of it.

    Raises RefusedError, and leaves dvc.lock as it is, where that can't be done.
    """
    with TemporaryDirectory(prefix="accept-", ignore_cleanup_errors=True) as folder:
        copies = Copies(revision, Path(folder, "old"), Path(folder, "new"))
        copy_folder(Path(), copies.new)
        renewals = stale_code(copies.new)
        if not renewals:
            return "nothing to accept: dvc.lock is of the code as it is"
        copy_revision(Path(), revision, copies.old)
        refuse_other_origin(renewals, copies)
        files = changed_files({renewal.path for renewal in renewals}, copies)
        edited = [file for file in files if file.edits]
        if edited:
            prove(edited, copies)
        renew(renewals)
    proof = "all outputs are equal" if edited else "comments and docstrings alone"
    return f"accepted ({proof}): " + ", ".join(sorted({renewal.stage for renewal in renewals}))


def stale_code(copy: Path) -> list[Renewal]:
    """Returns the dependencies on code that are not, in a copy, what dvc.lock says.

    Only stages that have run count. Raises RefusedError for one that now depends on other files.
    """
    recorded = recorded_code()
    with Repo() as repo, repo.lock:
        stages = [stage for stage in repo.index.stages if getattr(stage, "name", "") in recorded]
        now = {stage.name: {dep.def_path for dep in stage.deps} for stage in stages}
    for name, paths in now.items():
        if {path for path in paths if path.startswith(CODE)} != set(recorded[name]):
            raise RefusedError(f"{name}: depends on other code now: run it with `dvc repro {name}`")
    entries = entries_in(copy, {path for name in now for path in recorded[name]})
    return [
        Renewal(name, path, md5, entries[path])
        for name in now
        for path, md5 in recorded[name].items()
        if entries[path]["md5"] != md5
    ]


def recorded_code() -> dict[str, dict[str, str]]:
    """Returns the hashes of the code that each stage was run with, by path."""
    stages = yaml.safe_load(LOCK.read_text())["stages"] if LOCK.exists() else {}
    deps = {name: stage.get("deps", []) for name, stage in stages.items()}
    return {
        name: {dep["path"]: dep["md5"] for dep in of if dep["path"].startswith(CODE)}
        for name, of in deps.items()
    }


def entries_in(copy: Path, paths: set[str]) -> dict[str, dict[str, Any]]:
    """Returns what dvc.lock would say of files and folders in a copy; no md5 of what is missing."""
    found = {}
    with Repo(str(copy)) as repo:
        for path in paths:
            at = copy / path
            if not at.exists():
                found[path] = {"md5": ""}
                continue
            odb, md5 = repo.cache.local, "md5"
            _, meta, file = build(odb, str(at), repo.fs, md5, ignore=repo.dvcignore, dry_run=True)
            size = {key: value for key, value in meta.to_dict().items() if key != "isdir"}
            found[path] = {md5: str(file.hash_info.value), **size}
    return found


def refuse_other_origin(renewals: Sequence[Renewal], copies: Copies) -> None:
    """Raises RefusedError where a stage was run with other code than the commit's."""
    entries = entries_in(copies.old, {renewal.path for renewal in renewals})
    for stage, path, recorded, entry in renewals:
        if not entry["md5"]:
            raise RefusedError(f"{path}: missing, and {stage} depends on it")
        if entries[path]["md5"] != recorded:
            raise RefusedError(
                f"{path}: {stage} was not run with that of {copies.revision}: name the commit that "
                "it was run with, `make accept FROM=COMMIT`, or run it with `dvc repro`"
            )


def changed_files(paths: set[str], copies: Copies) -> list[ChangedFile]:
    """Returns the files of these paths that are not what they were."""
    within = {
        file.relative_to(copy)
        for copy in (copies.old, copies.new)
        for path in paths
        for file in [copy / path, *(copy / path).rglob("*")]
        if file.is_file()
    }
    found = []
    for path in sorted(map(str, within)):
        old, new = ((at / path).read_bytes() if (at / path).exists() else b"" for at in copies[1:])
        if old != new:
            trees = parsed(path, old), parsed(path, new)
            found.append(ChangedFile(path, *trees, differences(*trees)))
    return found


def parsed(path: str, text: bytes) -> ast.Module:
    """Returns the syntax of a file; raises RefusedError where it has none."""
    if not path.endswith(".py"):
        raise RefusedError(f"{path}: only edits of Python code can be accepted: run `dvc repro`")
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise RefusedError(f"{path}: not Python: {error}") from None


def prove(files: Sequence[ChangedFile], copies: Copies) -> None:
    """Runs both copies; raises RefusedError unless that shows that the edit changes no result."""
    for copy in copies[1:]:
        prepare_notes(copy / "src")
    for path, old, new, edits in files:
        for copy, tree, own in ((copies.old, old, edits.old), (copies.new, new, edits.new)):
            if (copy / path).exists():
                (copy / path).write_text(mark(tree, own, path), encoding="utf-8")
    run_both(copies)
    compare_outputs(copies)
    refuse_unproven(files, copies)


def run_both(copies: Copies) -> None:
    """Runs the pipeline in both copies side by side; raises RefusedError where one fails."""
    print("accept: running Pendulum's smallest pipeline twice, side by side", file=sys.stderr)
    logs = {copy: copy / "log" for copy in copies[1:]}
    running = {}
    try:
        for copy, log in logs.items():
            with log.open("wb") as output:
                running[copy] = begin(copy, output, OMP_NUM_THREADS="1")
        for copy in (copies.new, copies.old):
            if running[copy].wait():
                print(*logs[copy].read_text().splitlines()[-TAIL:], sep="\n", file=sys.stderr)
                code = "as it is" if copy == copies.new else f"of {copies.revision}"
                raise RefusedError(f"Pendulum's pipeline fails with the code {code}, see above")
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def compare_outputs(copies: Copies) -> None:
    """Raises RefusedError, naming the first output that is not the same to the bit."""
    old, new = map(outputs, copies[1:])
    differing = [path for path in old | new if old.get(path) != new.get(path)]
    if differing:
        others = f", nor are {len(differing) - 1} other outputs" if len(differing) > 1 else ""
        raise RefusedError(
            f"{differing[0]}: not what the code of {copies.revision} makes{others}: "
            "the edit changes results, so run `dvc repro`"
        )


def outputs(copy: Path) -> dict[str, str]:
    """Returns the hashes of all that the stages have written, in the order in which they ran.

    Not that of the report which names the code.
    """
    stages = yaml.safe_load((copy / LOCK).read_text())["stages"].values()
    outs = [out for stage in stages for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if not out["path"].endswith(COMES_FROM)}


def refuse_unproven(files: Sequence[ChangedFile], copies: Copies) -> None:
    """Raises RefusedError for an edited line that Pendulum's results say nothing of."""
    old, new = (notes(copy / "src") for copy in copies[1:])
    other_numbers = renumbered([file.edits for file in files])
    for path, _, _, edits in files:
        idle = [note for note in marked(edits.new, path) if note not in new]
        gone = [note for note in marked(edits.old, path) if note not in old]
        idle += [f"{note} in {copies.revision}" for note in gone]
        if idle:
            raise RefusedError(
                f"{idle[0]}: Pendulum's pipeline never runs this, so it can't tell: run `dvc repro`"
            )
        for line in [*edits.revalued, *(at.line for at in edits.new if at in other_numbers)]:
            raise RefusedError(
                f"{path}:{line}: has another value, and Pendulum's results can't tell whether "
                "other results depend on it: run `dvc repro`"
            )


def renew(renewals: Sequence[Renewal]) -> None:
    """Writes the new hashes of code into dvc.lock, where the old ones still stand."""
    with Repo() as repo, repo.lock, modify_yaml(str(LOCK)) as lock:
        for stage, path, recorded, entry in renewals:
            for dep in deps_of(lock, stage):
                if dep["path"] == path and dep["md5"] == recorded:
                    dep.update(entry)


def deps_of(lock: Mapping[str, Any], stage: str) -> list[dict[str, Any]]:
    """Returns what dvc.lock says of a stage's dependencies; none, if it says nothing any more."""
    found: list[dict[str, Any]] = lock["stages"].get(stage, {}).get("deps", [])
    return found


def main() -> None:
    """Accepts an edit, or refuses it in one line with exit code 1."""
    parser = argparse.ArgumentParser(
        prog="accept", description="Accept code that changes no result."
    )
    parser.add_argument("revision", nargs="?", default="HEAD", help="the edit begins here")
    revision = parser.parse_args().revision
    try:
        print(f"accept: {accept(revision)}")
    except GitError as error:
        sys.exit(f"accept: {revision}: {error}")
    except (WorldModelsError, DvcException) as error:
        sys.exit(f"accept: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
