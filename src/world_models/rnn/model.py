"""M: the MDN-RNN, which predicts the next latent from latent, action and its own state."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from world_models.rnn.mixture import Mixture, split_mixture


@dataclass(frozen=True)
class MDNRNNSizes:
    """What a checkpoint of M is bound to: sizes, heads, and what their outputs mean."""

    latent_size: int
    action_size: int
    hidden_size: int
    mixtures: int
    restart_input: bool
    """M is told that an episode begins (TakeCover in the paper)."""
    reward_head: bool
    done_head: bool
    done_weight: float = 1.0
    """How much more than others its training weighed steps that end an episode."""


class State(NamedTuple):
    """The LSTM's state: hidden and cell, (N, hidden_size) each, in the weights' precision."""

    hidden: Tensor
    cell: Tensor


class Prediction(NamedTuple):
    """What M expects of the next step; a head that M lacks is None."""

    mixture: Mixture
    reward: Tensor | None
    """Expected reward (...)."""
    done_logit: Tensor | None
    """Over 0 where the episode ends (...)."""


class MDNRNN(nn.Module):
    """An LSTM with a mixture of Gaussians, a reward and a done flag as its outputs.

    `advance` moves the state by any number of steps, `predict` reads the heads off hidden states;
    a sequence and the same steps one by one give equal results, because they are the same code.
    Paper's sizes: 422,368 parameters (CarRacing, no heads), 1,678,785 (TakeCover, done head).
    """

    def __init__(self, sizes: MDNRNNSizes) -> None:
        super().__init__()
        self.sizes = sizes
        inputs = sizes.latent_size + sizes.action_size + sizes.restart_input
        self.lstm: nn.Module = nn.LSTM(inputs, sizes.hidden_size)
        self._use_one_bias()
        mixture_outputs = sizes.latent_size * sizes.mixtures * 3
        self._split = [mixture_outputs, int(sizes.reward_head), int(sizes.done_head)]
        self.heads = nn.Linear(sizes.hidden_size, sum(self._split))

    def _use_one_bias(self) -> None:
        """The paper's LSTM has one bias, raised by one at the forget gate; torch's other is 0."""
        first, second = (self.lstm.get_parameter(f"bias_{part}_l0") for part in ("ih", "hh"))
        nn.init.zeros_(first)
        nn.init.zeros_(second).requires_grad_(False)
        self.raise_forget_gate()

    @torch.no_grad()
    def raise_forget_gate(self) -> None:
        """Adds 1 to the forget gate's bias, as the paper's LSTM does."""
        size = self.sizes.hidden_size
        self.lstm.get_parameter("bias_ih_l0")[size : 2 * size] += 1

    @property
    def device(self) -> torch.device:
        """The device that its weights are on."""
        return self.heads.weight.device

    def initial_state(self, count: int) -> State:
        """Returns the state before an episode: zeros, (count, hidden_size)."""
        zeros = self.heads.weight.new_zeros(count, self.sizes.hidden_size)
        return State(zeros, zeros.clone())  # two tensors: worlds write to them

    def advance(
        self, latent: Tensor, action: Tensor, restart: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Moves the state over T steps.

        Args:
            latent: (T, N, z).
            action: (T, N, a), as the task's `to_model` gives it.
            restart: (T, N) booleans, true on an episode's first step: the state is zeroed there.
            state: the state before the first step.

        Returns:
            The hidden states after each step (T, N, hidden_size), and the last state.
        """
        inputs = [latent, action] + [restart.unsqueeze(-1).to(latent)] * self.sizes.restart_input
        dtype = self.heads.weight.dtype
        steps, state = torch.cat(inputs, dim=-1).to(dtype), State(*(p.to(dtype) for p in state))
        hiddens = []
        # The LSTM runs unbroken between the times at which some lane restarts.
        for start, stop in _segments(restart):
            keep = (~restart[start]).unsqueeze(-1)
            state = State(state.hidden * keep, state.cell * keep)
            hidden, (last, cell) = self.lstm(
                steps[start:stop], (state.hidden.unsqueeze(0), state.cell.unsqueeze(0))
            )
            hiddens.append(hidden)
            state = State(last.squeeze(0), cell.squeeze(0))
        all_hidden = torch.cat(hiddens) if len(hiddens) > 1 else hiddens[0]
        # Under autocast the LSTM's own are in bfloat16.
        return all_hidden.to(dtype), State(*(part.to(dtype) for part in state))

    def step(self, latent: Tensor, action: Tensor, restart: Tensor, state: State) -> State:
        """Moves the state by one step: `advance` for (N, z), (N, a) and (N,)."""
        return self.advance(latent[None], action[None], restart[None], state)[1]

    def predict(self, hidden: Tensor) -> Prediction:
        """Reads the heads off hidden states (..., hidden_size)."""
        outputs = self.heads(hidden.to(self.heads.weight.dtype)).float()
        mixture, reward, done = outputs.split(self._split, dim=-1)
        return Prediction(
            split_mixture(mixture, self.sizes.mixtures),
            reward.squeeze(-1) if self.sizes.reward_head else None,
            done.squeeze(-1) if self.sizes.done_head else None,
        )


def _segments(restart: Tensor) -> list[tuple[int, int]]:
    """Cuts the time axis of (T, N) flags before every step on which some lane restarts."""
    length = restart.shape[0]
    if length == 1:
        return [(0, 1)]
    cuts = restart[1:].any(dim=1).nonzero().flatten().add(1).tolist()
    return list(zip([0, *cuts], [*cuts, length], strict=True))
