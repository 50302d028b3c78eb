"""Stage collect: episodes of a random policy, or of the agent of the round before."""

from contextlib import closing
from pathlib import Path

from pipelines.stage import Stage, main
from world_models.collecting.shards import Origin, ShardJob, collect, make_shard, shard_jobs
from world_models.config import CollectConfig
from world_models.data.store import (
    EpisodeAt,
    EpisodeStore,
    add_shards,
    link_shards,
    whole_shards,
)
from world_models.errors import ConfigError
from world_models.progress import Progress


def run(stage: Stage) -> None:
    """Plays all shards and reports how long their episodes are, or makes one of them again."""
    config = stage.section(CollectConfig)
    if stage.shard is not None:
        make_shard(one_of(jobs_in(stage, config, stage.episodes), stage.shard))
        return
    made = stage.state / "episodes"
    jobs, kept = jobs_in(stage, config, made), whole_shards(made)
    left = [job for job in jobs if job.path not in kept]
    stage.goes_on(len(jobs) - len(left), len(jobs), "shards")
    before = config.episodes - sum(len(job.seeds) for job in left)
    with (
        closing(collect(left, config.workers)) as shards,
        Progress("collect", config.episodes, "episodes", before) as progress,
    ):
        for lengths in shards:
            progress.advance(len(lengths))
    if stage.params.after is not None:
        add_shards(EpisodeStore(stage.before.episodes), made)
    link_shards(made, stage.episodes)
    report(stage, EpisodeStore(stage.episodes).episodes())


def report(stage: Stage, episodes: list[EpisodeAt]) -> None:
    """Writes how many episodes the round has played, how long they are, and how many there are."""
    lengths = [at.length for at in episodes if at.round == stage.params.round]
    steps = sum(lengths)
    metrics = {"episodes": len(lengths), "steps": steps, "mean_length": steps / len(lengths)}
    if stage.params.after is not None:
        metrics["all_episodes"] = len(episodes)
    stage.run.log_metrics(metrics)
    stage.write_metrics("collect.json", metrics)


def jobs_in(stage: Stage, config: CollectConfig, folder: Path) -> list[ShardJob]:
    """What makes the round's part of the data set in a folder."""
    return shard_jobs(folder, stage.task.name, config, stage.params.seed, origin(stage, config))


def origin(stage: Stage, config: CollectConfig) -> Origin:
    """The rounds before, and the agent that the last of them has made."""
    if stage.params.after is None:
        return Origin(stage.params.round)
    before = stage.before
    store = EpisodeStore(before.episodes)
    after_all_seeds = max(at.seed for at in store.episodes()) + 1
    agent = before.agent if config.policy == "agent" else None
    return Origin(stage.params.round, len(store.shards), after_all_seeds, agent)


def one_of(jobs: list[ShardJob], number: int) -> ShardJob:
    """The job of one shard; raises ConfigError where the round makes no such shard."""
    first = jobs[0].origin.shards
    if not 0 <= number - first < len(jobs):
        last = first + len(jobs) - 1
        raise ConfigError(f"--shard {number}: the round makes shards {first} to {last}")
    return jobs[number - first]


if __name__ == "__main__":
    main("collect", run, shards=True)
