"""Stage compare_inputs: the paper's table 1, the agent's scores beside those of a C with less."""

from pipelines.comparison import write
from pipelines.context import Context
from pipelines.inputs import INPUTS, for_inputs
from pipelines.stage import main
from world_models.controller.checkpoint import read_controller_sizes
from world_models.reporting.paper import BY_INPUTS
from world_models.reporting.tables import Row, read_summary, reported


def run(context: Context) -> None:
    """Writes inputs.csv, .md and .png from what sweep_inputs and evaluate have scored."""
    paper = BY_INPUTS.get(context.task.name, {})
    variants = {name: for_inputs(context, name).files for name in INPUTS}
    rows = []
    for name, files in (variants | {"full": context.files}).items():
        parameters = read_controller_sizes(files.model("controller")).parameter_count
        scores = read_summary(files.report("scores.json"))
        rows.append(Row(name, scores, reported(paper.get(name, {})), parameters))
    write(context, "inputs", "C", rows)


if __name__ == "__main__":
    main("compare_inputs", run)
