"""Stage compare_rounds: a round beside those that led to it, as a table, a chart and a film."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import numpy as np

from pipelines.comparison import write
from pipelines.context import Context
from pipelines.stage import main
from world_models.data.seeds import TEST
from world_models.evaluation.protocol import agent_to_score
from world_models.reporting.pictures import beside, save_video
from world_models.reporting.tables import Row, read_summary
from world_models.reporting.videos import watch
from world_models.runtime.progress import Progress
from world_models.worlds.games import open_lanes


def run(context: Context) -> None:
    """Writes rounds.csv, .md and .png of the rounds so far, and a film of first and last."""
    rounds = [context.of(name) for name in context.params.chain]
    scores = [read_summary(one.files.report("scores.json")) for one in rounds]
    names = [one.params.round for one in rounds]
    write(context, "rounds", "round", [Row(*row, {}) for row in zip(names, scores, strict=True)])
    film(context, [rounds[0], rounds[-1]])


def film(context: Context, rounds: list[Context]) -> None:
    """Makes a video of the rounds' agents side by side, in the same episode of the game."""
    steps, file = context.config.evaluate.video_steps, context.files.report("rounds.mp4")

    def frames(opened: ExitStack) -> Iterator[np.ndarray]:
        watched = []
        for one in rounds:
            agent = agent_to_score(context.task, one.files.agent)
            lanes = opened.enter_context(closing(open_lanes(context.task, 1, "gymnasium")))
            watched.append(watch(agent.real_world(lanes), agent, TEST[0], steps))
        for shown in zip(*watched, strict=True):
            yield beside(*(game for game, _ in shown))

    with ExitStack() as opened, Progress("compare_rounds, video", steps, "frames") as progress:
        save_video(file, progress.each(frames(opened)))
    context.tracking.log_artifact(file)


if __name__ == "__main__":
    main("compare_rounds", run)
