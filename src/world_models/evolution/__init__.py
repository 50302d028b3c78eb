"""Evolving C: the strategy, the fitness of controllers in a world, and the search."""
