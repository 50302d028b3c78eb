"""Stage collect: episodes of a random policy, or of the agent of the round before."""

from contextlib import closing
from pathlib import Path

from pipelines.context import Context
from pipelines.stage import main
from world_models.collecting.shards import Origin, ShardJob, collect, shard_jobs
from world_models.data.store import (
    EpisodeAt,
    EpisodeStore,
    add_shards,
    link_shards,
    whole_shards,
)
from world_models.params import MachineConfig
from world_models.runtime.progress import Progress


def run(context: Context) -> None:
    """Plays all shards and reports how long their episodes are."""
    episodes = context.files.episodes
    made = context.state / "episodes"
    play_shards(context, made)
    if context.adds_to_data:
        add_shards(EpisodeStore(context.before.files.episodes), made)
    link_shards(made, episodes)
    report(context, EpisodeStore(episodes).episodes())


def play_shards(context: Context, folder: Path) -> None:
    """Makes the shards that the folder doesn't have yet."""
    jobs, kept = jobs_in(context, folder), whole_shards(folder)
    left = [job for job in jobs if job.path not in kept]
    context.report_progress(len(jobs) - len(left), len(jobs), "shards")
    total = context.config.collect.episodes
    before = total - sum(len(job.seeds) for job in left)
    workers = context.params.general(MachineConfig).workers
    with (
        closing(collect(left, workers, context.open_pool)) as shards,
        Progress("collect", total, "episodes", before) as progress,
    ):
        for lengths in shards:
            progress.advance(len(lengths))


def report(context: Context, episodes: list[EpisodeAt]) -> None:
    """Writes how many episodes the round has played, how long they are, and how many there are."""
    lengths = [at.length for at in episodes if at.round == context.params.round]
    steps = sum(lengths)
    metrics = {"episodes": len(lengths), "steps": steps, "mean_length": steps / len(lengths)}
    if context.adds_to_data:
        metrics["all_episodes"] = len(episodes)
    context.tracking.log_metrics(metrics)
    context.write_metrics("collect.json", metrics)


def jobs_in(context: Context, folder: Path) -> list[ShardJob]:
    """Returns what makes the round's part of the data set in a folder."""
    config, seed = context.config.collect, context.params.seed
    return shard_jobs(folder, context.task.name, config, seed, origin(context))


def origin(context: Context) -> Origin:
    """Returns the rounds before, and the agent that the last of them has made."""
    if context.params.after is None:
        return Origin(context.params.round)
    before = context.before.files
    agent = before.agent if context.config.collect.policy == "agent" else None
    if not context.adds_to_data:
        return Origin(context.params.round, agent=agent)
    store = EpisodeStore(before.episodes)
    after_all_seeds = max(at.seed for at in store.episodes()) + 1
    return Origin(context.params.round, len(store.shards), after_all_seeds, agent)


if __name__ == "__main__":
    main("collect", run, ["collect"])
