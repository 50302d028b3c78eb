"""World Models (Ha and Schmidhuber, 2018): a VAE, an MDN-RNN and a linear controller."""

import sys
from pathlib import Path

# `gymnasium.make("world_models:...")` imports this package to have its environments registered. The
# command line does without, so that it answers at once.
if Path(sys.argv[0]).stem != "world-models":
    from world_models.environments import register

    register()
