"""Stage export: an agent as it is given to others, small and with a card that says what it is."""

from collections import Counter

from pipelines import evaluate
from pipelines.context import Context
from pipelines.dvc.lineage import committed
from pipelines.git import changed, revision
from pipelines.stage import main
from world_models.data.store import EpisodeStore
from world_models.evaluation.protocol import agent_to_score, protocol
from world_models.layout import AgentFiles
from world_models.params import SECTIONS
from world_models.pretrained import CARD
from world_models.reporting.card import Card, markdown_card
from world_models.reporting.tables import read_summary
from world_models.runtime.checkpoint import halve, read_parameter_count

HOLDS = {
    "vae": "V: encoder and decoder",
    "rnn": "M",
    "controller": "C",
    "starts": "mu and log σ² of first frames, from which dreams begin",
}
"""What is in each file of an agent."""


def run(context: Context) -> None:
    """Writes the agent in half precision, plays it anew as it is there, and writes its card."""
    exported = context.for_export()
    for whole, half in zip(context.files.agent, exported.files.agent, strict=True):
        halve(whole, half)
    agent = agent_to_score(context.task, exported.files.agent, context.playing_device)
    evaluate.score(exported, agent, ("real", "dream"))
    exported.write_text(CARD, markdown_card(card(context, exported)))


def card(context: Context, exported: Context) -> Card:
    """Returns what there is to say of the exported agent."""
    params, files = context.params, exported.files
    made = committed(f"controller@{params.round}")
    scores = read_summary(files.report("scores.json"))
    facts = {
        "scale": params.scale,
        "round": f"{params.round}, number {params.number} of its task",
        "seed": str(params.base_seed),
        "data": data(EpisodeStore(context.files.latents)),
        "parameters of V, M, C": ", ".join(counts(files.agent)),
        "revision": revision() + (", with changes" if changed() else ""),
        "DVC key of its controller": made.key,
    }
    return Card(
        context.task.name,
        str(protocol(context.task, params.scale)["environment"]),
        facts,
        {"the game": scores["real"], "the dream": scores["dream"]},
        context.config.evaluate.episodes,
        {f"{name}.safetensors": holds for name, holds in HOLDS.items()},
        {name: params.section(kind).model_dump() for name, kind in SECTIONS.items()},
    )


def data(store: EpisodeStore) -> str:
    """Returns what is in a data set, in words."""
    episodes = store.episodes()
    played = Counter(at.policy for at in episodes)
    by = ", ".join(f"{count:,} by {policy}" for policy, count in played.items())
    return f"{sum(at.length for at in episodes):,} steps of {len(episodes):,} episodes: {by}"


def counts(files: AgentFiles) -> list[str]:
    """Returns how many parameters V, M and C have."""
    return [f"{read_parameter_count(file):,}" for file in files[:3]]


if __name__ == "__main__":
    main("export", run, list(SECTIONS))
