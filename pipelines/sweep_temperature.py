"""Stage sweep_temperature: C evolved in dreams of one temperature, by the agent's own M or by
others, and scored in the dreams of its own M and in the game."""

from pipelines import controller, evaluate
from pipelines.context import Context, main
from world_models.runtime.errors import ConfigError


def run(context: Context) -> None:
    """Does what controller and evaluate do, in the dream even where the task does not."""
    dreamed_by, _, tau = context.variant.partition("-")
    changes: dict[str, dict[str, object]] = {
        "dream": {"temperature": temperature(tau or context.variant)},
        "controller": {"train_in": "dream", "dreamed_by": dreamed_by},
    }
    variant = context.for_sweep(f"temperature/{context.variant}", changes)
    variant.log_sections("controller", "dream", "evaluate")
    controller.run(variant)
    evaluate.score(variant, *evaluate.open_agent(variant), ("real", "dream"))


def temperature(text: str) -> float:
    """Reads a temperature; raises ConfigError for what is no number."""
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text}: no temperature") from None


if __name__ == "__main__":
    main("sweep_temperature", run, variant="temperature")
