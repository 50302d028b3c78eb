"""Other people's reinforcement learning in the dream."""

import numpy as np
import pytest
import torch
from gymnasium.wrappers import RecordEpisodeStatistics, TimeAwareObservation, TimeLimit

from tests.dreams import STEPS, rewarding_dream
from world_models.worlds.single import SingleWorld

stable_baselines3 = pytest.importorskip("stable_baselines3")


def test_gymnasiums_wrappers_go_round_a_dream_of_one():
    env = RecordEpisodeStatistics(
        TimeAwareObservation(TimeLimit(SingleWorld(rewarding_dream(1)), 7))
    )
    observation, _ = env.reset(seed=1)
    for _ in range(7):
        assert observation in env.observation_space
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
    assert (terminated, truncated, info["episode"]["l"]) == (False, True, 7)


def test_stable_baselines_ppo_learns_in_the_dream():
    torch.manual_seed(0)
    envs = stable_baselines3.common.vec_env.DummyVecEnv(
        [lambda: SingleWorld(rewarding_dream(1)) for _ in range(4)]
    )
    ppo = stable_baselines3.PPO(
        "MlpPolicy",
        envs,
        n_steps=100,
        batch_size=100,
        learning_rate=3e-3,
        policy_kwargs={"net_arch": [8]},
        seed=0,
        device="cpu",
    )

    def returns():
        evaluate = stable_baselines3.common.evaluation.evaluate_policy
        return evaluate(ppo, envs, n_eval_episodes=8, deterministic=True, warn=False)[0]

    before = returns()
    ppo.learn(3000)
    after = returns()
    assert np.isfinite(after)
    assert after > before + 0.2 * STEPS
