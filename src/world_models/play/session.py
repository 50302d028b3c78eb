"""One visitor's game, with the dream beside it."""

from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import torch

from world_models.agent import Agent
from world_models.reporting.videos import dream_from
from world_models.worlds.base import World
from world_models.worlds.dream import DreamWorld
from world_models.worlds.games import open_lanes


class Session:
    """The game and the dream from the same first frame, under one driver: the agent or a person."""

    def __init__(self, agent: Agent, seed: int) -> None:
        """Opens both worlds; the episode is the game's of this seed."""
        self.agent = agent
        with ExitStack() as opened:
            games = opened.enter_context(closing(open_lanes(agent.task, 1, "gymnasium")))
            self.real = agent.real_world(games)
            self.real.begin([seed])
            self.dream: DreamWorld = dream_from(agent, self.real.frames)
            self.dream.begin([seed])
            opened.pop_all()  # the session closes them
        self._totals = {"real": 0.0, "dream": 0.0}

    @property
    def _worlds(self) -> dict[str, World]:
        return {"real": self.real, "dream": self.dream}

    @torch.inference_mode()
    def step(self, action: list[float] | None, temperature: float) -> None:
        """Takes a step in both worlds, with this action in [-1, 1] or else the agent's own.

        Raises ValueError for an action of another length.
        """
        self.dream.temperature = temperature
        for name, world in self._worlds.items():
            own = self.agent.controller.act(world.features())
            chosen = own if action is None else torch.tensor([action]).to(own)
            self._totals[name] += float(world.advance(chosen))

    def figures(self) -> dict[str, Any]:
        """Returns how far each world is: steps, return, and whether it has ended."""
        return {
            name: {
                "steps": int(world.steps),
                "total": self._totals[name],
                "finished": bool(world.finished),
            }
            for name, world in self._worlds.items()
        }

    def pictures(self) -> bytes:
        """Returns three frames (64, 64, 3) of bytes: the game, what V makes of it, the dream."""
        dreamed = self.dream.render() or ()
        return np.stack([*self.real.frames, *self.real.reconstructions(), *dreamed]).tobytes()

    def close(self) -> None:
        """Closes both worlds."""
        self.real.close()
        self.dream.close()
