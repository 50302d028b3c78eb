"""Stage ablation: the paper's table 1, the agent's scores beside those of a C with less."""

from pipelines.comparison import Row, measured, reported, write
from pipelines.paper import ABLATIONS
from pipelines.stage import Stage, main
from world_models.models.checkpoint import read_controller_sizes


def run(stage: Stage) -> None:
    """Writes ablation.csv, .md and .png from what the stages ablated and evaluate have measured."""
    paper = ABLATIONS.get(stage.task.name, {})
    rows = []
    for name in ("latent", "hidden-layer", "full"):
        one = stage if name == "full" else stage.variant(f"ablation/{name}", {})
        parameters = read_controller_sizes(one.model("controller")).parameter_count
        scores = measured(one.report("scores.json"))
        rows.append(Row(name, scores, reported(paper.get(name, {})), parameters))
    write(stage, "ablation", "C", rows)


if __name__ == "__main__":
    main("ablation", run)
