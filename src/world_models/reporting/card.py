"""What an agent is, in Markdown: the card that lies beside its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from world_models.reporting.tables import Score, interval, table

TEMPLATE = """\
---
license: mit
library_name: world-models
tags: [world-models, reinforcement-learning, {task}]
---
# {title}

An agent for {environment}: V, a VAE, makes a latent z of each frame; M, an MDN-RNN, remembers and
can dream the game; C, a small controller, acts on [z, h] (Ha and Schmidhuber, *World Models*,
2018).

```python
from world_models.agent import Agent

agent = Agent.from_pretrained("{task}")
```

{facts}
## Scores

{scores}
Measured with these very files, in half precision: the mean return, its deviation, and the 95%
interval of the mean, on seeds that nothing was trained, validated or chosen on. In the dream, M
plays the game to itself, as C was evolved or validated in it.

## What it is for

- To watch, to play with, and to start from: its dream is an environment for any agent.
- To hold another agent against, under the same protocol.

Not for other games, nor for frames that are cropped or drawn in another way than this task's.
M knows what was played in its data set; where a player goes elsewhere, its dream is a guess.

## Files

{files}
All but this card are safetensors, which hold numbers and no code.

## Parameters

```yaml
{parameters}```

MIT licence.
"""


@dataclass(frozen=True)
class Card:
    """What there is to say of an agent."""

    task: str
    environment: str
    """Gymnasium's id of the game that it was scored in."""
    facts: Mapping[str, str]
    """What it was made of and by, in short."""
    scores: Mapping[str, Score]
    """By what they were measured in."""
    episodes: int
    """That each score is of."""
    files: Mapping[str, str]
    """Names, and what is in each."""
    parameters: Mapping[str, Any]
    """The parameters in force, by section."""


def markdown_card(card: Card) -> str:
    """Returns the card as Markdown, with a head that Hugging Face's hub reads."""
    rows = [[name, interval(score), str(card.episodes)] for name, score in card.scores.items()]
    return TEMPLATE.format(
        title=f"World model of {card.task}",
        task=card.task,
        environment=card.environment,
        facts=_pairs(("", ""), card.facts),
        scores=table(["in", "mean ± deviation [95% interval]", "episodes"], rows),
        files=_pairs(("file", "holds"), card.files),
        parameters=yaml.safe_dump(dict(card.parameters), sort_keys=False),
    )


def _pairs(columns: Sequence[str], pairs: Mapping[str, str]) -> str:
    return table(columns, [list(pair) for pair in pairs.items()])
