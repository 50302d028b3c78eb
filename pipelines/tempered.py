"""Stage tempered: C evolved in the dream at one temperature, and scored there and in the game."""

from pipelines import controller, evaluate
from pipelines.stage import Stage, main
from world_models.errors import ConfigError


def run(stage: Stage) -> None:
    """Does what stages controller and evaluate do, in the dream even where the task does not."""
    tau: dict[str, object] = {"temperature": temperature(stage.item), "temperatures": []}
    tempered = stage.variant(
        f"temperature/{stage.item}", {"dream": tau, "controller": {"train_in": "dream"}}
    )
    controller.run(tempered)
    evaluate.score(tempered, *evaluate.open_agent(tempered), ("real", "dream"))


def temperature(text: str) -> float:
    """Raises ConfigError for what is no number."""
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text}: no temperature") from None


if __name__ == "__main__":
    main("tempered", run, item="tau")
