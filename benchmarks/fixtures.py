"""What the rows work on: models of the default scale's sizes, fresh; and real frames."""

import atexit
import tempfile
from contextlib import closing
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch

from world_models.collecting.config import CollectConfig
from world_models.collecting.shards import Origin, collect, shard_jobs
from world_models.controller.config import ControllerConfig
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.data.store import EpisodeStore, shard_path, write_shard
from world_models.params import Params
from world_models.rnn.config import RNNConfig
from world_models.rnn.inference import rnn_for_inference
from world_models.rnn.model import MDNRNN
from world_models.rnn.training import RNNTraining
from world_models.runtime.config import WeightsPrecision
from world_models.runtime.devices import best_device, cores
from world_models.runtime.files import link_or_copy
from world_models.runtime.precision import weights_dtype
from world_models.runtime.processes import WorkerPool
from world_models.tasks import get_task
from world_models.vae.config import EncodeConfig, VAEConfig
from world_models.vae.encoding import encode
from world_models.vae.inference import vae_for_inference
from world_models.vae.model import VAE, VAESizes
from world_models.worlds.features import feature_size

CPU = torch.device("cpu")
EPISODES = 40
"""Of the data set that training and encoding are measured on: 40,000 frames of CarRacing."""
MANY = 10_000
"""Episodes, as the paper has them."""


def params(task: str) -> Params:
    """params.yaml, at the scale that it names."""
    return Params(Path("params.yaml"), task)


@cache
def fresh_vae(task: str) -> VAE:
    """A V of the task's size."""
    torch.manual_seed(0)
    sizes = VAESizes(params(task).section(VAEConfig).latent_size)
    return VAE(sizes).eval().requires_grad_(False)


@cache
def vae(task: str, precision: WeightsPrecision) -> VAE:
    """The same as the stages use it."""
    return vae_for_inference(deepcopy(fresh_vae(task)), best_device(), weights_dtype(precision))


@cache
def fresh_rnn(task: str) -> MDNRNN:
    """An M of the task's size, in whose dream no episode ends."""
    torch.manual_seed(0)
    config, size = params(task).section(RNNConfig), params(task).section(VAEConfig).latent_size
    made = RNNTraining(config, get_task(task), size).rnn.eval().requires_grad_(False)
    if config.done_head:
        made.heads.bias[-1] = -100
    return made


@cache
def rnn(task: str, precision: WeightsPrecision) -> MDNRNN:
    """The same as the stages use it."""
    return rnn_for_inference(deepcopy(fresh_rnn(task)), best_device(), weights_dtype(precision))


@cache
def controllers(task: str) -> Controllers:
    """One C with small random weights, which sees what the task's C sees."""
    cell = params(task).section(ControllerConfig).cell
    sizes = ControllerSizes(
        feature_size(fresh_rnn(task).sizes, cell), get_task(task).action_size, bias=True, cell=cell
    )
    torch.manual_seed(0)
    return Controllers(sizes, 0.1 * torch.randn(1, sizes.parameter_count))


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="world-models-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def episodes(task: str) -> EpisodeStore:
    """A small data set."""
    folder = _folder() / task / "episodes"
    config = params(task).section(CollectConfig).model_copy(update={"episodes": EPISODES})
    for _ in collect(shard_jobs(folder, task, config, 0, Origin(task)), cores(CPU)):
        pass
    return EpisodeStore(folder)


@cache
def latents(task: str) -> EpisodeStore:
    """The same through a fresh V."""
    folder = _folder() / task / "latents"
    config = params(task).section(EncodeConfig)
    with closing(WorkerPool(cores(CPU))) as pool:
        sum(encode(episodes(task), vae(task, "32-true"), folder, config.batch_size, pool))
    return EpisodeStore(folder)


@cache
def many_episodes(task: str) -> EpisodeStore:
    """As many episodes as the paper has: those of the small data set, over and over."""
    return _over_and_over(episodes(task), _folder() / task / "many-episodes")


@cache
def many_latents(task: str) -> EpisodeStore:
    """The same through a fresh V."""
    return _over_and_over(latents(task), _folder() / task / "many-latents")


def _over_and_over(store: EpisodeStore, folder: Path) -> EpisodeStore:
    """Shards of real episodes, each under many names: the disk has them once, the store often."""
    made: list[Path] = []
    total = MANY * len(store.shards) // len(store.episodes())
    for number in range(total):
        path = shard_path(folder, number)
        if number < len(store.shards):
            own = [at for at in store.episodes() if at.shard == store.shards[number]]
            write_shard(path, [store.read(at) for at in own], total)
            made.append(path)
        else:
            link_or_copy(made[number % len(made)], path)
    return EpisodeStore(folder)
