"""Stage compare_temperature: the paper's table 2, scores in dream and game by temperature."""

from itertools import product

from pipelines.comparison import write
from pipelines.context import Context
from pipelines.stage import main
from world_models.params import SweepTemperatureConfig
from world_models.reporting.paper import BY_TEMPERATURE
from world_models.reporting.tables import Row, read_summary, reported


def run(context: Context) -> None:
    """Writes temperature.csv, .md and .png from what the stages sweep_temperature have scored."""
    config = context.params.general(SweepTemperatureConfig)
    swept = product(config.dreamed_by, config.temperatures)
    write(context, "temperature", "temperature", [row(context, *one) for one in swept])


def row(context: Context, dreamed_by: str, temperature: float) -> Row:
    """Returns the scores of one C; the paper's are of dreams by the agent's own M."""
    own = dreamed_by == "own"
    paper = BY_TEMPERATURE.get(context.task.name, {}) if own else {}
    return Row(
        f"{temperature}" if own else f"{temperature} by others",
        read_summary(context.files.report(f"temperature/{dreamed_by}-{temperature}/scores.json")),
        reported(paper.get(temperature, {})),
    )


if __name__ == "__main__":
    main("compare_temperature", run)
