"""Stage compare_temperature: the paper's table 2, scores in dream and game by temperature."""

from pipelines.comparison import write
from pipelines.context import Context, main
from world_models.params import SweepTemperatureConfig
from world_models.reporting.paper import BY_TEMPERATURE
from world_models.reporting.tables import Row, read_summary, reported


def run(context: Context) -> None:
    """Writes temperature.csv, .md and .png from what the stages sweep_temperature have scored."""
    paper = BY_TEMPERATURE.get(context.task.name, {})
    rows = [
        Row(
            str(temperature),
            read_summary(context.files.report(f"temperature/{temperature}/scores.json")),
            reported(paper.get(temperature, {})),
        )
        for temperature in context.params.general(SweepTemperatureConfig).temperatures
    ]
    write(context, "temperature", "temperature", rows)


if __name__ == "__main__":
    main("compare_temperature", run)
