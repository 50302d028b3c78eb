"""Stage collect: episodes under a random policy, into the store."""

from contextlib import closing
from pathlib import Path

from pipelines.stage import Stage, main
from world_models.collecting import ShardJob, collect, make_shard, shard_jobs
from world_models.config import CollectConfig
from world_models.data.store import EpisodeStore, link_shards, whole_shards
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
    stage.goes_on(len(kept), len(jobs), "shards")
    left = [job for job in jobs if job.path not in kept]
    before = config.episodes - sum(len(job.seeds) for job in left)
    with (
        closing(collect(left, config.workers)) as shards,
        Progress("collect", config.episodes, "episodes", before) as progress,
    ):
        for lengths in shards:
            progress.advance(len(lengths))
    link_shards(made, stage.episodes)
    report(stage, [at.length for at in EpisodeStore(stage.episodes).episodes()])


def report(stage: Stage, lengths: list[int]) -> None:
    """Writes how many episodes there are, and how long they are."""
    steps = sum(lengths)
    metrics = {"episodes": len(lengths), "steps": steps, "mean_length": steps / len(lengths)}
    stage.run.log_metrics(metrics)
    stage.write_metrics("collect.json", metrics)


def jobs_in(stage: Stage, config: CollectConfig, folder: Path) -> list[ShardJob]:
    """What makes the data set in a folder."""
    return shard_jobs(folder, stage.task.name, config, stage.params.seed)


def one_of(jobs: list[ShardJob], number: int) -> ShardJob:
    """The job of one shard; raises ConfigError where there is no such shard."""
    if not 0 <= number < len(jobs):
        raise ConfigError(f"--shard {number}: the data set has shards 0 to {len(jobs) - 1}")
    return jobs[number]


if __name__ == "__main__":
    main("collect", run, shards=True)
