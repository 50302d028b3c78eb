"""Episodes that nobody played."""

from pathlib import Path

import numpy as np

from world_models.data.store import Episode, shard_path, write_shard

LATENT = 16


def write_episodes(project: Path, kind: str = "episodes", round_: str = "pendulum") -> None:
    """A round's data set, its frames or its latents: two shards of two short episodes each."""
    random = np.random.default_rng(0)
    for number in range(2):
        episodes = []
        for seed in (2 * number, 2 * number + 1):
            if kind == "episodes":
                frames = {"frames": random.integers(0, 256, (51, 64, 64, 3), np.uint8)}
            else:
                mu = random.normal(size=(51, LATENT)).astype(np.float32)
                frames = {"mu": mu, "logvar": mu - 3}
            steps = {
                "actions": random.uniform(-1, 1, (50, 1)).astype(np.float32),
                "rewards": np.ones(50, np.float32),
            }
            episodes.append(Episode(seed, False, frames, steps, round_, "held"))
        write_shard(shard_path(project / "data" / round_ / kind, number), episodes, 2)
