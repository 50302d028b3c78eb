"""What the early stages of pendulum make, at once: V and M are untrained."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from tests.configs import smoke
from tests.projects import commit, dvc
from world_models.data.store import Episode, shard_path, write_shard
from world_models.models.checkpoint import save_rnn, save_vae
from world_models.models.vae import VAE, VAESizes
from world_models.tasks import get_task
from world_models.training.rnn import RNNTraining

STAGES = ("collect", "vae", "encode", "rnn")
REPORTS = ("collect.json", "reconstructions.png", "vae.json", "rnn.json")
LATENT = 16


def write_episodes(project: Path, kind: str = "episodes") -> None:
    """Two shards of two short episodes each."""
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
            episodes.append(Episode(seed, False, frames, steps, "pendulum", "held"))
        write_shard(shard_path(project / "data" / "pendulum" / kind, number), episodes, 2)


def change_parameters(project: Path, section: list[str], values: dict[str, Any]) -> None:
    """Gives a section of params.yaml other values."""
    path = project / "params.yaml"
    contents = place = yaml.safe_load(path.read_text())
    for key in section:
        place = place[key]
    place |= values
    path.write_text(yaml.safe_dump(contents, sort_keys=False))


def take_early_stages_for_done(project: Path) -> None:
    """Puts results of all stages before `controller` into the project, DVC's cache and git."""
    change_parameters(
        project, ["smoke", "pendulum", "evaluate"], {"episodes": 2, "lanes": 2, "workers": 1}
    )
    torch.manual_seed(0)
    for kind in ("episodes", "latents"):
        write_episodes(project, kind)
    models, reports = (project / folder / "pendulum" for folder in ("models", "reports"))
    save_vae(models / "vae.safetensors", VAE(VAESizes(LATENT)))
    training = RNNTraining(smoke("rnn"), get_task("pendulum"), LATENT)
    save_rnn(models / "rnn.safetensors", training.rnn)
    reports.mkdir(parents=True)
    for name in REPORTS:
        (reports / name).write_text("{}")
    dvc(project, "commit", "--force", "--quiet", *(f"{stage}@pendulum" for stage in STAGES))
    commit(project, "The early stages are done")
