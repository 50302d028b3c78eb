"""Stage sweep_temperature: C evolved in dreams of one temperature, by the agent's own M or by
others, and scored in the dreams of its own M and in the game."""

from pipelines import controller, evaluate
from pipelines.context import Context
from pipelines.stage import main
from world_models.evaluation.protocol import agent_to_score
from world_models.runtime.errors import ConfigError


def run(context: Context) -> None:
    """Does what controller and evaluate do, in the dream even where the task does not."""
    dreamed_by, tau = parsed(context.variant)
    changes: dict[str, dict[str, object]] = {
        "dream": {"temperature": tau},
        "controller": {"train_in": "dream", "dreamed_by": dreamed_by},
    }
    variant = context.for_sweep(f"temperature/{context.variant}", changes)
    variant.log_sections("controller", "dream", "evaluate")
    controller.run(variant)
    agent = agent_to_score(variant.task, variant.files.agent, context.playing_device)
    evaluate.score(variant, agent, ("real", "dream"))


def parsed(variant: str) -> tuple[str, float]:
    """Reads who dreams, and at what temperature; raises ConfigError for another form."""
    dreamed_by, _, tau = variant.partition("-")
    try:
        return dreamed_by, float(tau)
    except ValueError:
        raise ConfigError(f"{variant}: no variant: one is called own-1.15") from None


if __name__ == "__main__":
    main("sweep_temperature", run, variant="own-TAU or others-TAU")
