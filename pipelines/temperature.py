"""Stage temperature: the paper's table 2, scores in the dream and in the game by temperature."""

from pipelines.comparison import Row, measured, reported, write
from pipelines.paper import TEMPERATURES
from pipelines.stage import Stage, main
from world_models.config import TemperatureConfig


def run(stage: Stage) -> None:
    """Writes temperature.csv, .md and .png from what the stages tempered have measured."""
    paper = TEMPERATURES.get(stage.task.name, {})
    rows = [
        Row(
            str(tau),
            measured(stage.report(f"temperature/{tau}/scores.json")),
            reported(paper.get(tau, {})),
        )
        for tau in stage.params.sweep(TemperatureConfig).taus
    ]
    write(stage, "temperature", "tau", rows)


if __name__ == "__main__":
    main("temperature", run)
