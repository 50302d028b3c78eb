"""What a world shows when each lane acts by its seed alone."""

import numpy as np


def actions_of(seed, step):
    """The action of the lane with this seed at this step."""
    return np.random.default_rng((seed, step)).uniform(-1, 1, 1).astype(np.float32)


def trace(world, seeds, steps, act=actions_of):
    """Features (steps + 1, lanes, F), rewards, terminated and truncated (steps, lanes)."""
    features = [world.reset(seed=seeds)[0]]
    results = []
    for step in range(steps):
        after, *result, _ = world.step(np.stack([act(seed, step) for seed in seeds]))
        features.append(after)
        results.append(result)
    return np.stack(features), *map(np.stack, zip(*results, strict=True))
