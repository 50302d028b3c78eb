"""Stage collect: episodes under a random policy, into the store."""

from world_models.collecting import collect, shard_jobs
from world_models.config import CollectConfig
from world_models.progress import Progress

from pipelines.stage import Stage, made_whole, main


def run(stage: Stage) -> None:
    """Plays all shards and reports how long their episodes are."""
    config = stage.params.section(CollectConfig)
    stage.run.log_params(config.model_dump())
    lengths: list[int] = []
    with (
        made_whole(stage.episodes) as folder,
        Progress("collect", config.episodes, "episodes") as progress,
    ):
        jobs = shard_jobs(folder, stage.task.name, config, stage.params.seed)
        for shard in collect(jobs, config.workers):
            lengths += shard
            progress.advance(len(shard), frames=sum(lengths))
    steps = sum(lengths)
    metrics = {"episodes": len(lengths), "steps": steps, "mean_length": steps / len(lengths)}
    stage.run.log_metrics(metrics)
    stage.write_metrics("collect.json", metrics)


if __name__ == "__main__":
    main("collect", run)
