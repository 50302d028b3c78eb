"""Random policies: how the actions of one episode are chosen, frame by frame."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from world_models.agent import Agent
from world_models.collecting.config import CollectConfig
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.rnn.inference import rnn_for_inference
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.errors import ConfigError
from world_models.tasks.base import Task
from world_models.vae.inference import vae_for_inference
from world_models.vae.model import VAE, VAESizes
from world_models.worlds.games import Transitions
from world_models.worlds.rollout import Act

CPU = torch.device("cpu")


class Policy(Protocol):
    """How one episode's actions are chosen."""

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Takes a frame (64, 64, 3) to an action (a,) in [-1, 1]."""


def random_policy(task: Task, config: CollectConfig, seed: int, episode: int) -> Policy:
    """Returns the policy that plays the episode of this seed in the run with that seed.

    Raises ConfigError for the policy `agent`, which is not a random one.
    """
    random = np.random.default_rng([seed, episode])
    if config.policy == "brownian":
        return Brownian(task.action_size, random)
    if config.policy == "held":
        return Held(task.action_size, random, config.longest_hold)
    if config.policy == "random-network":
        return RandomNetwork(task, random)
    raise ConfigError(f"collect.policy: {config.policy}: not a random one")


def side_by_side(policies: Sequence[Policy]) -> Act:
    """Returns what chooses the actions of several games, a policy for each."""

    def act(lanes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        pairs = zip(lanes, frames, strict=True)
        return np.asarray([policies[lane].act(frame) for lane, frame in pairs], np.float32)

    return act


class Brownian:
    """Actions that drift: a random walk clipped to [-1, 1] (white noise barely moves a car)."""

    STEP = 1 / math.sqrt(50)

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.random = random
        self.action = random.uniform(-1, 1, size)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Returns the last action, a small normal step further."""
        action = self.action
        step = self.STEP * self.random.standard_normal(len(action))
        self.action = np.clip(action + step, -1, 1)
        return action


class Held:
    """Uniform actions, each held for 1 to L steps.

    The paper's L is 10. An episode draws its own L, uniform in its logarithm between two bounds:
    with a wide range M also sees what comes of walking to a wall and of standing still, which is
    where evolution takes C first.
    """

    def __init__(self, size: int, random: np.random.Generator, longest: Sequence[int]) -> None:
        self.size, self.random, self.left = size, random, 0
        low, high = np.log(longest[0]), np.log(longest[1])
        self.longest = round(math.exp(random.uniform(low, high)))

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Returns the next action, whatever the frame."""
        return self.next()

    def next(self) -> np.ndarray:
        """Returns the action held, or a new one when its time is up: (a,) in [-1, 1]."""
        if self.left == 0:
            self.left = int(self.random.integers(1, self.longest + 1))
            self.action = self.random.uniform(-1, 1, self.size)
        self.left -= 1
        return self.action


class RandomNetwork:
    """V, M and C with random weights, which play in a world of one lane.

    The lane's game is whatever frames the policy is shown, be they of a game or of a dream.
    """

    def __init__(self, task: Task, random: np.random.Generator) -> None:
        agent, self.shown = random_agent(task, random), Shown()
        self.controller, self.world = agent.controller, agent.real_world(self.shown)
        self.seed = int(random.integers(2**31))
        self.action: Tensor | None = None

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Takes a frame (64, 64, 3) to an action (a,) in [-1, 1]."""
        self.shown.frame = frame
        if self.action is None:
            self.world.begin([self.seed])
        else:
            self.world.advance(self.action)
        self.action = self.controller.act(self.world.features())
        return self.action[0].numpy()


def random_agent(task: Task, random: np.random.Generator) -> Agent:
    """Draws all weights as the authors' code does: Cauchy numbers times U(0, 1) / 100.

    The scale U is one an episode; the code stores V's and M's weights as integers of 1/10,000.
    """
    generator = torch.Generator().manual_seed(int(random.integers(2**63)))
    m_sizes = MDNRNNSizes(32, task.action_size, 256, 5, False, False, False)
    vae, rnn = VAE(VAESizes(32)), MDNRNN(m_sizes)
    c_sizes = ControllerSizes(32 + 256, task.action_size, bias=True, cell=False)
    controller = Controllers(c_sizes, torch.zeros(1, c_sizes.parameter_count))
    scale = torch.rand((), generator=generator) * 0.01
    networks = [p for net in (vae, rnn) for p in net.parameters() if p.requires_grad]
    with torch.inference_mode():
        for tensor, part in [*((p, 1e-4) for p in networks), (controller.parameters, 1.0)]:
            drawn = torch.empty_like(tensor).cauchy_(generator=generator)
            tensor.copy_(drawn * scale * part)
        rnn.raise_forget_gate()
    parts = vae_for_inference(vae, CPU), rnn_for_inference(rnn, CPU), controller
    return Agent(task, *parts, torch.zeros(1, 2, 32))


class Shown:
    """A game of one lane that shows what it is given, and never ends."""

    count = 1
    frame: np.ndarray
    """What it shows next, (64, 64, 3) bytes."""

    def reset(self, seeds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Shows the frame, whatever the seed."""
        return self.frame[None]

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Transitions:
        """Shows the frame, whatever the action."""
        return self.frame[None], np.zeros(1, np.float32), np.zeros(1, bool), np.zeros(1, bool)

    def close(self) -> None:
        """Does nothing."""
