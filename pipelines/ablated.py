"""Stage ablated: C with less than the paper's agent has, evolved and scored as the agent is."""

from pipelines import controller, evaluate
from pipelines.stage import Stage, main
from world_models.errors import ConfigError

ABLATIONS: dict[str, dict[str, object]] = {
    "latent": {"inputs": "latent", "hidden_units": None},
    "hidden-layer": {"inputs": "latent", "hidden_units": 40},
}
"""The paper's: C on z alone, without M's state; and the same with a layer of tanh units before."""


def run(stage: Stage) -> None:
    """Does what the stages controller and evaluate do, for one of the ablations."""
    if stage.item not in ABLATIONS:
        raise ConfigError(f"{stage.item}: no such ablation; there are: {', '.join(ABLATIONS)}")
    ablated = stage.variant(f"ablation/{stage.item}", {"controller": ABLATIONS[stage.item]})
    controller.run(ablated)
    evaluate.score(ablated, *evaluate.open_agent(ablated), ("real", "dream"))


if __name__ == "__main__":
    main("ablated", run, item="ablation")
