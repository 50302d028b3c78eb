"""How M is built and trained."""

from typing import Annotated

from pydantic import Field

from world_models.runtime.config import Config, Count, Decay, Natural, Positive, Precision, Share


class RNNConfig(Config):
    """M and its training."""

    warm_start: bool = False
    """Training begins with M of the round before."""
    dreamers: Natural = 0
    """Further M's that are trained alike, from other first weights and on the data in another
    order. C can be evolved in their dreams (controller.dreamed_by)."""
    hidden_size: Count = 256
    """Units of the LSTM."""
    mixtures: Count = 5
    """Gaussians for each number of z."""
    restart_input: bool = False
    """M is told that an episode begins."""
    reward_head: bool = True
    """M predicts the reward, which the paper's iterative procedure needs. Without this head a
    dream's reward is 1 for each step."""
    done_head: bool = True
    """M predicts the end of the episode."""
    done_weight: Positive = 10.0
    """How much more a step that ends an episode weighs in the done head's loss."""
    batches: Count = 4000
    """Batches of sequences."""
    lanes: Count = 100
    """Sequences in a batch."""
    steps: Count = 999
    """Steps of a sequence; M's state is carried on to the next batch."""
    newest_share: Share = 0.0
    """Share of the lanes that see only the newest episodes."""
    newest_episodes: Count = 150
    """How many episodes count as the newest."""
    learning_rate: Positive = 1e-3
    """Adam's learning rate at the start."""
    learning_rate_decay: Decay = 1.0
    """Factor on the learning rate after each batch."""
    learning_rate_floor: Annotated[float, Field(ge=0)] = 0.0
    """The learning rate decays no lower than this."""
    gradient_clip: Positive = 1.0
    """Each value of the gradient is clipped to plus or minus this."""
    precision: Precision = "32-true"
    """Lightning's precision, as for V."""
    validate_every: Count = 500
    """Batches between two validations; a checkpoint is kept as often."""
