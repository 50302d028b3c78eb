"""The command line, `world-models`. Torch and the games are imported by the commands that need
them, so that it answers at once."""

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from world_models.runtime.errors import (
    OF_THE_DISK,
    ExtraError,
    FileError,
    ScoresError,
    WorldModelsError,
)

if TYPE_CHECKING:
    from world_models.agent import Agent, AgentFiles
    from world_models.gate import Judgement

DISK = Path("pipelines", "disk.py")
"""The project's own code, which knows DVC."""


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; what a user can fix ends it with one line on stderr and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except WorldModelsError as error:
        sys.exit(f"world-models: {_explained(error)}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        sys.exit(f"world-models: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("world-models", description="Agents that learn in a dream.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    evaluate = commands.add_parser("evaluate", help="score an agent in the official game")
    _add_agent(evaluate)
    evaluate.add_argument("--episodes", type=_over_one, default=100, help="held-out seeds (100)")
    evaluate.add_argument("--lanes", type=_count, default=10, help="games a process (10)")
    evaluate.add_argument("--workers", type=_count, default=2, help="processes (2)")
    evaluate.set_defaults(command=_evaluate)
    video = commands.add_parser(
        "video",
        help="film an agent",
        description="Films the game, V's picture of it, and the agent's dream from the same start.",
    )
    _add_agent(video)
    video.add_argument("--out", type=Path, help="file to write (default: ROUND.mp4 or ROUND.gif)")
    video.add_argument("--gif", action="store_true", help="write a GIF, as a README shows it")
    video.add_argument("--steps", type=_count, default=600, help="at most (600)")
    video.add_argument("--seed", type=_seed, help="the game's (default: the first for validation)")
    video.set_defaults(command=_video)
    release = commands.add_parser(
        "release",
        help="put an exported agent into the package",
        description="Copies exports/ROUND to the package, where --pretrained finds it.",
    )
    release.add_argument("round", help="the round that was exported, e.g. takecover")
    release.set_defaults(command=_release)
    site = commands.add_parser(
        "site",
        help="build the playground's page",
        description="Writes the page as files that any web server can serve.",
    )
    site.add_argument("out", type=Path, help="folder to write; what is there is replaced")
    _add_agents(site)
    site.set_defaults(command=_site)
    play = commands.add_parser("play", help="open the playground in the browser")
    _add_agents(play)
    play.add_argument("--page", type=Path, help="folder of the page (default: this package's)")
    play.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    play.add_argument("--port", type=_port, default=8000, help="port to listen on (8000)")
    play.add_argument("--no-browser", action="store_true", help="only serve")
    play.set_defaults(command=_play)
    push = commands.add_parser(
        "push",
        help="give an agent to others, in Hugging Face's hub",
        description="Uploads an agent's files and its card, and prints the address.",
    )
    _add_agent(push)
    push.add_argument("repository", metavar="OWNER/NAME", help="made where there is none")
    push.add_argument("--private", action="store_true", help="it has to be private")
    push.set_defaults(command=_push)
    params = commands.add_parser("params", help="print the parameters in force")
    params.add_argument("round", nargs="?", help="a task, or a round in params.yaml")
    params.add_argument("--scale", help="smoke, small, full or paper (default: params.yaml's)")
    params.add_argument("--reference", action="store_true", help="all there are, in Markdown")
    params.set_defaults(command=_params)
    disk = commands.add_parser(
        "disk",
        help="show what results and runs take of the disk",
        description="Shows what DVC's cache, half-done work and MLflow's runs take, and for what.",
    )
    disk.add_argument("--clean", action="store_true", help="remove what nothing needs, after a yes")
    disk.add_argument("-f", "--force", action="store_true", help="with --clean: don't ask")
    disk.set_defaults(command=_disk)
    gate = commands.add_parser(
        "gate",
        help="compare scores with their baseline",
        description="Exit code 0: no round is worse. 1: one is. 2: none, but one can't be told.",
    )
    gate.add_argument("rounds", nargs="+", metavar="ROUND", help="e.g. carracing-2")
    gate.add_argument("--update", action="store_true", help="make these scores the baseline")
    gate.add_argument("--tolerance", type=_positive, help="with --update: points that may be lost")
    gate.add_argument("--reports", type=Path, default=Path("reports"), help="folder of scores")
    gate.add_argument("--baselines", type=Path, default=Path("baselines"), help="folder of those")
    gate.set_defaults(command=_gate)
    return parser


def _add_agent(command: argparse.ArgumentParser) -> None:
    command.add_argument("round", help="a task, e.g. carracing, or a round in params.yaml")
    agent = command.add_mutually_exclusive_group()
    agent.add_argument("--models", type=Path, help="folder of an agent (default: models/ROUND)")
    agent.add_argument("--pretrained", action="store_true", help="the one in this package")
    agent.add_argument("--model", metavar="VERSION", help="MLflow's: a number, or champion")


def _add_agents(command: argparse.ArgumentParser) -> None:
    words = "folder of folders of agents, beside those of the package (models)"
    command.add_argument("--models", type=Path, default=Path("models"), help=words)


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is under 1")
    return number


def _over_one(text: str) -> int:
    if (number := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"{number} is under 2: one episode has no deviation")
    return number


def _seed(text: str) -> int:
    return _whole(text, 2**31 - 1)


def _port(text: str) -> int:
    return _whole(text, 2**16 - 1)


def _whole(text: str, most: int) -> int:
    if not 0 <= (number := int(text)) <= most:
        raise argparse.ArgumentTypeError(f"{number} is not in 0 to {most}")
    return number


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not over 0")
    return number


def _explained(error: WorldModelsError) -> str:
    """The error in one line, with what to do about it where that is known."""
    from world_models.layout import explain
    from world_models.params import PARAMS, round_names

    return explain(error, round_names(PARAMS))


def _params(options: argparse.Namespace) -> None:
    """Prints the values in force for a round, where each comes from, and how to set it."""
    from world_models.params import PARAMS, Params
    from world_models.reference import in_force, reference

    if options.reference:
        print(reference(), end="")
    elif options.round is None:
        sys.exit("world-models params: name a task, or a round in params.yaml")
    else:
        rows = in_force(Params(PARAMS, options.round, options.scale))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip())


def _evaluate(options: argparse.Namespace) -> None:
    """Prints mean, deviation, interval and number of the agent's returns, as JSON."""
    import numpy as np

    from world_models.data.seeds import TEST
    from world_models.evaluation.protocol import play_jobs, real_jobs
    from world_models.evaluation.statistics import summary
    from world_models.pretrained import located
    from world_models.runtime.progress import Progress

    with located(_source(options)) as agent:
        task = _require_agent(options, agent).task
        seeds = TEST[: options.episodes]
        jobs = real_jobs(task.name, seeds, options.lanes, agent)
        returns = np.zeros(len(seeds))
        with Progress("evaluate", len(seeds), "episodes") as progress:
            for job, played in play_jobs(jobs, options.workers):
                first = seeds.index(job.seeds[0])  # the interval hangs on their order
                returns[first : first + len(played)] = played
                progress.advance(len(played))
    print(json.dumps(summary(returns), indent=2))


def _require_agent(options: argparse.Namespace, agent: "AgentFiles") -> "Agent":
    """The agent; whatever is wrong with its files is said before anything is played."""
    from world_models.evaluation.protocol import agent_to_score
    from world_models.layout import maker, repro
    from world_models.params import PARAMS, round_names
    from world_models.tasks import get_task

    try:
        return agent_to_score(get_task(_task_of(options.round)), agent)
    except FileError as error:
        _, made, round_ = (maker(error.path) or "").partition("@")
        if not made or not error.fault.startswith("missing"):
            raise
        # Not the stage of this one file: the files that it is made of may be missing too.
        remedy = repro(f"evaluate@{round_}", round_names(PARAMS), "makes and scores it")
        raise WorldModelsError("; ".join(filter(None, [str(error), remedy]))) from None


def _video(options: argparse.Namespace) -> None:
    """Writes a film of the agent, and prints where it is."""
    from world_models.data.seeds import VALIDATE
    from world_models.pretrained import located
    from world_models.reporting.pictures import save_gif, save_video
    from world_models.reporting.videos import film
    from world_models.runtime.progress import Progress

    out = _film_file(options)
    with located(_source(options)) as files:
        agent = _require_agent(options, files)
    seed = VALIDATE.start if options.seed is None else options.seed
    with Progress("video", options.steps, "frames") as progress:
        pictures = progress.each(film(agent, seed, options.steps))
        (save_gif if options.gif else save_video)(out, pictures)
    print(out)


def _film_file(options: argparse.Namespace) -> Path:
    """Where a film goes: never in place of a folder, which would be lost."""
    ending = ".gif" if options.gif else ".mp4"
    out = Path(options.out or options.round + ending)
    if out.is_dir():
        raise WorldModelsError(f"{out}: is a folder: --out names a file")
    if out.suffix.lower() != ending:
        raise WorldModelsError(f"{out}: this film's name ends with {ending} (--gif: with .gif)")
    blocking = [folder for folder in out.parents if folder.exists() and not folder.is_dir()]
    if blocking:
        raise WorldModelsError(f"{blocking[0]}: is a file, and no folder for {out.name}")
    return out


def _release(options: argparse.Namespace) -> None:
    """Copies an exported agent, and prints where it is now."""
    from world_models.layout import ExportFiles
    from world_models.pretrained import release

    print(release(ExportFiles(options.round)))


def _site(options: argparse.Namespace) -> None:
    """Writes the page, and prints where it is."""
    from world_models.play.site import build
    from world_models.pretrained import agent_folders

    build(options.out, agent_folders(options.models))
    print(options.out)


def _play(options: argparse.Namespace) -> None:
    """Serves the page, with the agents of the package, of a folder and of the registry."""
    try:
        from world_models.play.server import serve
    except ModuleNotFoundError:
        raise ExtraError("the playground", "play") from None
    from world_models.play.site import built_page
    from world_models.pretrained import all_sources
    from world_models.tracking.client import present_uri

    # A game is opened in a folder of its own, which is then the whole process's.
    os.environ["MLFLOW_TRACKING_URI"] = present_uri()
    page, sources = built_page(options.page).resolve(), all_sources(options.models.resolve())
    serve(page, sources, options.host, options.port, open_browser=not options.no_browser)


def _push(options: argparse.Namespace) -> None:
    """Uploads an agent, and prints where it is now."""
    from world_models.pretrained import located, push

    with located(_source(options)) as files:
        _require_agent(options, files)
        print(push(files, options.repository, options.private))


def _source(options: argparse.Namespace) -> "str | Path":
    """Where the agent is, as the options say."""
    from world_models.tracking.registry import model_name

    if options.pretrained:
        return _task_of(options.round)
    if options.model is None:
        return Path(options.models or Path("models", options.round))
    separator = "/" if options.model.isdigit() else "@"
    return f"models:/{model_name(_task_of(options.round))}{separator}{options.model}"


def _disk(options: argparse.Namespace) -> None:
    """Has the project's own code look, as DVC has it run the stages."""
    if not DISK.exists():
        raise WorldModelsError(f"{DISK}: missing; run this from the project's folder")
    if find_spec("dvc") is None:
        raise ExtraError("DVC", "pipeline")
    chosen = [f"--{name}" for name in ("clean", "force") if getattr(options, name)]
    module = ".".join(DISK.with_suffix("").parts)
    command = [sys.executable, "-m", module, *chosen]
    sys.exit(subprocess.run(command, check=False).returncode)


def _row(round_: str, judgement: "Judgement") -> str:
    """A row of the table; without figures where there was nothing to compare."""
    word = {0: "no worse", 1: "**worse**", 2: "can't tell"}[judgement.verdict]
    if math.isnan(judgement.now):
        return f"| {round_} | | | | {word}: {judgement.reason} |"
    change = f"{judgement.now - judgement.was:+.1f} [{judgement.low:+.1f}, {judgement.high:+.1f}]"
    figures = f"{judgement.was:.1f} | {judgement.now:.1f} | {change}"
    return f"| {round_} | {figures} | {word}: {judgement.reason} |"


def _task_of(round_: str) -> str:
    """The task of a round, as params.yaml has it; a first round has its task's name."""
    from world_models.params import PARAMS, Params
    from world_models.tasks import task_names

    return round_ if round_ in task_names() or not PARAMS.exists() else Params(PARAMS, round_).task


def _judged(options: argparse.Namespace, round_: str) -> "Judgement":
    """What the gate says; what is missing or damaged can't be told."""
    from world_models import gate

    try:
        return gate.gate(options.reports, options.baselines, round_)
    except ScoresError as error:
        return gate.Judgement(gate.Verdict.UNCLEAR, _not_judged(options, round_, error))


def _not_judged(options: argparse.Namespace, round_: str, error: ScoresError) -> str:
    """What is wrong with scores or with their baseline, and what to do about it."""
    if error.path.parent != options.baselines:
        return _explained(error)
    folders = {"reports": options.reports, "baselines": options.baselines}
    given = [f" --{name} {folder}" for name, folder in folders.items() if folder != Path(name)]
    if not error.fault.startswith("missing"):
        given.append(" --tolerance POINTS")  # or it would be read from the damaged one
    return f"{error}; `world-models gate {round_} --update{''.join(given)}` makes it"


def _promoted(reports: Path, round_: str) -> str:
    """Moves the champion to the version with these scores; says how that went."""
    from world_models.tracking.client import existing_store, present_uri
    from world_models.tracking.delivery import first_line
    from world_models.tracking.registry import promote

    returns = (reports / round_ / "returns.csv").read_bytes()
    try:
        store, md5 = existing_store(present_uri()), hashlib.md5(returns).hexdigest()
        version = promote(store, _task_of(round_), "returns", md5)
    except Exception as error:  # the baseline has moved, whatever MLflow says
        return f"{round_}: the champion stays as it is: {first_line(error)}"
    if version is None:
        return f"{round_}: the champion stays as it is: no registered version has these scores"
    return f"{round_}: version {version} is the champion"


def _gate(options: argparse.Namespace) -> None:
    """Prints a table, in Markdown for a job's summary; exits with the worst verdict."""
    from world_models import gate
    from world_models.gate import Verdict

    if options.update:
        for round_ in options.rounds:
            try:
                gate.update(options.reports, options.baselines, round_, options.tolerance)
            except ScoresError as error:
                sys.exit(f"world-models: {_not_judged(options, round_, error)}")
            print(_promoted(options.reports, round_), file=sys.stderr)
    verdicts = set()
    print("| round | baseline | now | change | verdict |", "|---|--:|--:|--:|---|", sep="\n")
    for round_ in options.rounds:
        judgement = _judged(options, round_)
        print(_row(round_, judgement))
        verdicts.add(judgement.verdict)
    sys.exit(next(v for v in (Verdict.WORSE, Verdict.UNCLEAR, Verdict.NO_WORSE) if v in verdicts))


if __name__ == "__main__":
    main()
