"""What C may see: the variants that sweep_inputs evolves and compare_inputs holds together."""

from pipelines.context import Context
from world_models.runtime.errors import ConfigError

INPUTS: dict[str, dict[str, object]] = {
    "latent": {"inputs": "latent", "hidden_units": None},
    "hidden-layer": {"inputs": "latent", "hidden_units": 40},
}
"""The paper's: C on z alone, without M's state; and the same through a layer of tanh units."""


def for_inputs(context: Context, name: str) -> Context:
    """Returns a stage's context for C with these inputs; raises ConfigError for unknown ones."""
    if name not in INPUTS:
        raise ConfigError(f"{name}: no such variant; there are: {', '.join(INPUTS)}")
    return context.for_sweep(f"inputs/{name}", {"controller": INPUTS[name]})
