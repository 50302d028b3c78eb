"""Stage loop: a round beside those before it, as a table, a chart and a film."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import numpy as np

from pipelines.comparison import Row, Score, measured, write
from pipelines.film import watch
from pipelines.stage import Stage, main
from world_models.config import EvaluateConfig
from world_models.errors import StoreError
from world_models.evaluation import agent_to_score, real_world
from world_models.pictures import beside, save_video
from world_models.progress import Progress
from world_models.rounds import remedy
from world_models.seeds import TEST
from world_models.worlds.pixels import open_lanes


def run(stage: Stage) -> None:
    """Writes loop.csv, .md and .png of the rounds so far, and a film of the first and the last."""
    rounds = so_far(stage)
    rows = [Row(one.params.round, scores(one), {}) for one in rounds]
    write(stage, "loop", "round", rows)
    film(stage, [rounds[0], rounds[-1]], stage.section(EvaluateConfig).video_steps)


def scores(one: Stage) -> dict[str, Score]:
    """Of a round; raises StoreError where it has none."""
    file = one.report("scores.json")
    if not file.is_file():
        raise StoreError(f"{file}: missing; {remedy('evaluate', one.params.round)}")
    return measured(file)


def so_far(stage: Stage) -> list[Stage]:
    """The rounds that led to this one, the first of them first."""
    before = [] if stage.params.after is None else so_far(stage.before)
    return [*before, stage]


def film(stage: Stage, rounds: list[Stage], steps: int) -> None:
    """A video of the rounds' agents side by side, in the same episode of the game."""

    def frames(opened: ExitStack) -> Iterator[np.ndarray]:
        watched = []
        for one in rounds:
            agent = agent_to_score(stage.task, one.agent)
            lanes = opened.enter_context(closing(open_lanes(stage.task, 1, "gymnasium")))
            watched.append(watch(real_world(stage.task, lanes, agent), agent, TEST[0], steps))
        for shown in zip(*watched, strict=True):
            yield beside(*(game for game, _ in shown))
            progress.advance()

    with ExitStack() as opened, Progress("loop, video", steps, "frames") as progress:
        save_video(stage.report("loop.mp4"), frames(opened))
    stage.run.log_artifact(stage.report("loop.mp4"))


if __name__ == "__main__":
    main("loop", run)
