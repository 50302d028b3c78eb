"""Which seeds serve which purpose: disjoint ranges, so that no test episode is ever trained on.

A seed names one episode of a game (a track, a level, a dream), whatever plays it.
"""

COLLECT = range(0, 1_000_000)
EVOLVE = range(1_000_000, 2_000_000)
VALIDATE = range(2_000_000, 3_000_000)
SPENT = range(3_000_000, 3_500_000)
"""Parameters were chosen by scores on these, so no agent is scored on them any more."""
TEST = range(3_500_000, 4_000_000)
"""Agents are scored on these alone, from the first one on."""
