"""V's decoder and M as ONNX, for a browser to run."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from world_models.rnn.model import MDNRNN
from world_models.runtime.errors import ExtraError
from world_models.tasks.base import Task
from world_models.vae.model import VAE

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

WORTH_HALVING = 1000
"""Numbers of a tensor, under which half precision saves nothing."""


class Decoder(nn.Module):
    """V's decoder, of one latent."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent: Tensor) -> Tensor:
        """Draws an image (1, 3, 64, 64) in [0, 1] of a latent (1, z)."""
        return self.vae.decode(latent)


class Step(nn.Module):
    """A step of M of one lane, and what M expects after it.

    An LSTM's gates are written out: a browser's GPU has no LSTM.
    """

    def __init__(self, rnn: MDNRNN, task: Task) -> None:
        super().__init__()
        self.rnn, self.task = rnn, task
        self.into, self.again, *biases = (p.detach() for p in rnn.lstm.parameters())
        self.bias = sum(biases)

    def forward(
        self, latent: Tensor, action: Tensor, restart: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, ...]:
        """Moves the state on.

        Args:
            latent: (1, z).
            action: (1, a), C's own in [-1, 1].
            restart: (1, 1), 1 on an episode's first step, where the state is zeros, or else 0.
            hidden, cell: the state before (1, h) each.

        Returns hidden and cell after, (1, h) each; the mixture's logits, means and log standard
        deviations (1, K, z) each; the reward (1,) and the logit of an end (1,), of the heads that M
        has.
        """
        inputs = [latent, self.task.to_model(action)] + [restart] * self.rnn.sizes.restart_input
        gates = torch.cat(inputs, 1) @ self.into.T + hidden @ self.again.T + self.bias
        enter, forget, new, leave = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        expected = self.rnn.predict(hidden)
        heads = [head for head in (expected.reward, expected.done_logit) if head is not None]
        return hidden, cell, *expected.mixture, *heads


def decoder_onnx(vae: VAE) -> bytes:
    """Returns V's decoder as an ONNX model: `latent` to `image`."""
    latent = torch.zeros(1, vae.sizes.latent_size)
    return _exported(Decoder(vae), {"latent": latent}, ["image"])


def step_onnx(rnn: MDNRNN, task: Task) -> bytes:
    """Returns a step of M as an ONNX model, its inputs and outputs named as those of `Step`."""
    sizes = rnn.sizes
    state = torch.zeros(1, sizes.hidden_size)
    inputs = {
        "latent": torch.zeros(1, sizes.latent_size),
        "action": torch.zeros(1, sizes.action_size),
        "restart": torch.zeros(1, 1),
        "hidden": state,
        "cell": state.clone(),
    }
    outputs = ["next_hidden", "next_cell", "logits", "mu", "log_sigma"]
    outputs += ["reward"] * sizes.reward_head + ["done_logit"] * sizes.done_head
    return _exported(Step(rnn, task), inputs, outputs)


def _exported(network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    try:
        import onnxscript  # noqa: F401 - what torch exports with
    except ImportError:
        raise ExtraError("a page's networks", "site") from None
    with _quiet():
        program = torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    halve_where_nothing_is_lost(model)
    contents: bytes = model.SerializeToString()
    return contents


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter from speaking of libraries that it would know more with."""
    log, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def halve_where_nothing_is_lost(model: "ModelProto") -> None:
    """Stores weights in half precision that have no more, as those of exported agents: the browser
    loads half as much, and computes with the same numbers in float32."""
    from onnx import TensorProto, helper, numpy_helper

    kept, casts = [], []
    for weight in model.graph.initializer:
        half = _halved(weight)
        if half is None:
            kept.append(weight)
            continue
        name = f"{weight.name}_half"
        kept.append(numpy_helper.from_array(half, name))
        casts.append(helper.make_node("Cast", [name], [weight.name], to=TensorProto.FLOAT))
    nodes = [
        *casts,
        *(type(node).FromString(node.SerializeToString()) for node in model.graph.node),
    ]
    kept = [type(weight).FromString(weight.SerializeToString()) for weight in kept]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def _halved(weight: "TensorProto") -> np.ndarray | None:
    """A weight in half precision, if that is worth it and loses nothing."""
    from onnx import TensorProto, numpy_helper

    if weight.data_type != TensorProto.FLOAT:
        return None
    whole = numpy_helper.to_array(weight)
    half = whole.astype(np.float16)
    return half if whole.size >= WORTH_HALVING and np.array_equal(half, whole) else None
