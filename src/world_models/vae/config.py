"""How V is built and trained, and how it encodes."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from world_models.runtime.config import (
    Config,
    Count,
    Decay,
    Natural,
    Positive,
    Precision,
    WeightsPrecision,
)


class VAEConfig(Config):
    """V and its training."""

    warm_start: bool = False
    """Training begins with V of the round before; with 0 batches V stays as it is."""
    latent_size: Count = 32
    """Numbers in z."""
    batches: Natural = 1_000_000
    """Batches of frames; the default is about 10 epochs of 10,000 episodes."""
    batch_size: Count = 100
    """Frames in a batch."""
    learning_rate: Positive = 1e-4
    """Adam's learning rate at the start."""
    learning_rate_decay: Decay = 1.0
    """Factor on the learning rate after each batch."""
    free_nats: Annotated[float, Field(ge=0)] = 0.5
    """Nats for each number of z. While the KL divergence of all z together is below their sum, it
    costs nothing."""
    error: Literal["squared", "cross_entropy"] = "squared"
    """The error of V's pictures, summed over a frame: squared, as in the paper, or cross_entropy,
    in nats. By the squared error V leaves small things out where frames are mostly black: see "The
    lunar lander, which V does not see" in docs/notebook.md."""
    precision: Precision = "32-true"
    """Lightning's precision: 32-true, bf16-mixed, or auto. auto is bf16-mixed on GPUs and on
    processors that multiply in bfloat16."""
    validate_every: Count = 10_000
    """Batches between two validations; a checkpoint is kept as often."""

    @model_validator(mode="after")
    def _made_somehow(self) -> "VAEConfig":
        if not self.batches and not self.warm_start:
            raise ValueError("batches: 0 needs warm_start: true")
        return self


class EncodeConfig(Config):
    """Every frame of the data set through V's encoder."""

    batch_size: Count = 256
    """Frames in a batch."""
    precision: WeightsPrecision = "32-true"
    """Precision of V's weights: 32-true, bf16-true, or auto, which is chosen as V's is."""
    starts: Count = 1000
    """First frames, at most, whose latents are kept for dreams to begin from."""
