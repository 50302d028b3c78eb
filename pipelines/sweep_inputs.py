"""Stage sweep_inputs: C that sees less than the paper's, evolved and scored as the agent is."""

from pipelines import controller, evaluate
from pipelines.context import Context, main
from pipelines.inputs import for_inputs


def run(context: Context) -> None:
    """Does what the stages controller and evaluate do, for one of the variants."""
    variant = for_inputs(context, context.variant)
    variant.log_sections("controller", "dream", "evaluate")
    controller.run(variant)
    evaluate.score(variant, *evaluate.open_agent(variant), ("real", "dream"))


if __name__ == "__main__":
    main("sweep_inputs", run, variant="inputs")
