"""Stage sweep_inputs: C that sees less than the paper's, evolved and scored as the agent is."""

from pipelines import controller, evaluate
from pipelines.context import Context
from pipelines.inputs import for_inputs
from pipelines.stage import main
from world_models.evaluation.protocol import agent_to_score


def run(context: Context) -> None:
    """Does what the stages controller and evaluate do, for one of the variants."""
    variant = for_inputs(context, context.variant)
    variant.log_sections("controller", "dream", "evaluate")
    controller.run(variant)
    agent = agent_to_score(variant.task, variant.files.agent, context.playing_device)
    evaluate.score(variant, agent, ("real", "dream"))


if __name__ == "__main__":
    main("sweep_inputs", run, variant="inputs")
