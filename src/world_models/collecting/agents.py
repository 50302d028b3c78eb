"""Agents that play for the data set, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from world_models.collecting.policies import Held
from world_models.config import CollectConfig
from world_models.models.agent import Agent
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes, State
from world_models.models.vae import VAE, VAESizes, sample_latent, to_images
from world_models.task import Task


class Disturbance:
    """Held random actions that now and then for a while take the place of others."""

    def __init__(self, held: Held, share: float, longest: int, random: np.random.Generator) -> None:
        """`share` of the spells, 1 to `longest` steps each, are random."""
        self.held, self.share, self.longest = held, share, longest
        self.random, self.left, self.disturbs = random, 0, False

    def over(self, frame: np.ndarray, action: np.ndarray) -> np.ndarray:
        """The action, or the random one where the spell is its."""
        if self.left == 0:
            self.left = int(self.random.integers(1, self.longest + 1))
            self.disturbs = self.random.random() < self.share
        self.left -= 1
        drawn = self.held.act(frame)
        return drawn if self.disturbs else action


class Playing:
    """Agents of one V and M, a C for each lane: they see frames, and keep M's state."""

    def __init__(
        self,
        task: Task,
        agent: Agent,
        generators: Sequence[torch.Generator],
        disturbances: Mapping[int, Disturbance] | None = None,
    ) -> None:
        """Each lane draws z, where C wants it drawn, by a generator of its own."""
        self.task, self.agent, self.generators = task, agent, generators
        self.disturbances = disturbances or {}
        self.state = agent.rnn.initial_state(len(generators))
        self.begins = torch.ones(len(generators), dtype=torch.bool)

    @torch.inference_mode()
    def act(self, lanes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Each lane's C on its frame's latent and M's state, or what takes the place of that.

        Lanes (k,) and their frames (k, 64, 64, 3) to actions (k, a) in [-1, 1].
        """
        at = torch.from_numpy(lanes)
        controllers, cell = self.agent.controller.at(at), self.agent.controller.sizes.cell
        state = State(*(part[at] for part in self.state))
        latent = self._encode(lanes, frames)
        features = torch.cat([latent, state.hidden, *([state.cell] if cell else [])], dim=1)
        actions = controllers.act(features).numpy()
        for i, lane in enumerate(lanes.tolist()):
            if lane in self.disturbances:
                actions[i] = self.disturbances[lane].over(frames[i], actions[i])
        # M is told what is done, whoever wanted it.
        fed = self.task.to_model(torch.from_numpy(actions))
        following = self.agent.rnn.step(latent, fed, self.begins[at], state)
        for part, moved in zip(self.state, following, strict=True):
            part[at] = moved
        self.begins[at] = False
        return actions

    def _encode(self, lanes: np.ndarray, frames: np.ndarray) -> Tensor:
        mu, logvar = self.agent.vae.encode(to_images(torch.from_numpy(frames)))
        if not self.agent.controller.sizes.sampled:
            return mu
        drawn = [torch.randn(mu.shape[1], generator=self.generators[lane]) for lane in lanes]
        return sample_latent(mu, logvar, torch.stack(drawn))


class RandomNetwork:
    """V, M and C with random weights (the authors' code): Cauchy numbers times U(0, 1) / 100.

    One scale an episode; the code stores V's and M's weights as integers of 1/10,000.
    """

    def __init__(self, task: Task, random: np.random.Generator) -> None:
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
        self.playing = Playing(task, Agent(vae, rnn, controller), [generator])

    def act(self, frame: np.ndarray) -> np.ndarray:
        """A frame (64, 64, 3) to an action (a,) in [-1, 1]."""
        return self.playing.act(np.zeros(1, int), frame[None])[0]


class Neighbourhood:
    """In some lanes the agent as it is; in others a neighbour of its C's, disturbed."""

    def __init__(
        self,
        task: Task,
        config: CollectConfig,
        randoms: Sequence[np.random.Generator],
        agent: Agent,
    ) -> None:
        """Draws each lane's C from its own random numbers."""
        disturbances: dict[int, Disturbance] = {}
        generators = [torch.Generator().manual_seed(int(r.integers(2**63))) for r in randoms]
        own = agent.controller.parameters
        parameters = own.repeat(len(randoms), 1)
        for lane, random in enumerate(randoms):
            if random.random() >= config.as_is:
                step = torch.randn(own.shape[1], generator=generators[lane])
                parameters[lane] += config.spread * step
                held = Held(task.action_size, random, config.longest_hold)
                disturbances[lane] = Disturbance(
                    held, config.random_share, config.longest_hold[0], random
                )
        controllers = Controllers(agent.controller.sizes, parameters)
        cast = replace(agent, controller=controllers)
        self.playing = Playing(task, cast, generators, disturbances)
        self.names = [
            "neighbour" if lane in disturbances else "agent" for lane in range(len(randoms))
        ]

    def act(self, lanes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """As `Playing` has it."""
        return self.playing.act(lanes, frames)
